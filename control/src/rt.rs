//! The control runtime. The only file that names tokio-uring.
