// Package fetch brings one node binary from a URL to its place on the volume.
//
// A download is kept in a folder of its own beside what its server said of it,
// so that it is resumed after a lost connection and after the end of the
// program alike. What arrived is hashed from disk, unpacked if it is an archive,
// and put in place by one rename(2) together with the folders that are missing
// above it: before that nothing of it can be seen where it is going.
//
// Whether the binary can run here is not judged: that is the caller's preflight.
package fetch
