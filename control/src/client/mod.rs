//! Bootstrap of every client process: volfile, topology, name resolution, ports, data-path cores.
