//! Volfiles: grammar, syntax tree, writer, and the graphs that are generated.
