// Package failpoint names the moments at which tests end or disturb the
// program: between two renames, before an fsync, in the middle of a copy. In a
// build without the tag failpoint, as every shipped one is, At does nothing and
// costs nothing.
//
// With the tag, the environment says what happens:
//
//	WEMIXVISOR_FAILPOINT=NAME=exit      the program is gone at NAME, as by kill -9
//	WEMIXVISOR_FAILPOINT=NAME=term      it gets a SIGTERM at NAME and goes on
//	WEMIXVISOR_FAILPOINT=NAME#3=exit    the third time it comes by NAME
//	WEMIXVISOR_FAILPOINT_LOG=FILE       the name of every point passed, a line each
//
// A test lets the program pass once with the log, and then kills it at each
// point that it found there.
package failpoint
