//! What operators do to the directory. The management API and the command line both call these functions, so they
//! cannot disagree.
