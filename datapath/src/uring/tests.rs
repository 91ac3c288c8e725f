//! What only the kernel's ring can show.
