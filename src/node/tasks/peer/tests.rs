//! Tests of links over real sockets.
