//! What `tidegate self check` says of other programs and packages.
