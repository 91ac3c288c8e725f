//! The management daemon: volumes and their files, options, brick supervision, the management programs.
