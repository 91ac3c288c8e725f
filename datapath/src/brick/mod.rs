//! The brick service: GlusterFS's on-disk format and every fop of GLUSTERFS v4 on one directory.
