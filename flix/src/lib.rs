//! flix
