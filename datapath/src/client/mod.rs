//! The client graph of one core: sessions to the bricks and the file operations a mount offers.
