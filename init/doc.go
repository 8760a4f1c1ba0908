// Package supervisor keeps one node process running. Its folder is named init
// for what the program is inside a container; Go reserves that identifier.
//
// One goroutine, [Supervisor.Run], owns the node: its process, its back-off and
// its restart budget. Others hand it requests and read an atomic [Status]. A
// request that cannot be taken at once is answered [ErrBusy]; it never queues
// behind a change.
//
// A [Change] is how everything else happens that needs the node down: restart,
// backup, upgrade, rollback. The supervisor stops the node, applies the change,
// starts the node and asks for a confirmation; when any of that fails it
// reverts and starts what ran before. It does not know what changed.
//
// A stop is one SIGTERM to the node's process group and to the daemons that
// left it, then the grace, then SIGKILL. Nodes of the go-ethereum family count
// repeated signals and panic at the eleventh, and need up to minutes to write
// their state, so SIGTERM is never repeated.
package supervisor
