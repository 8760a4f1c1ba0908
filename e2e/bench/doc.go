// Command bench compares an init with tini, dumb-init and catatonit:
//
//	go run ./e2e/bench -supervisor ./wemixvisor
//
// Each contestant is a real PID 1, in a fresh PID and mount namespace with a
// /proc of its own. That needs root, or a kernel that gives an unprivileged
// user a user namespace. The contestant "no init" is the measured child as
// PID 1 itself: what the measuring costs. Peers that are not installed are
// left out.
//
// Contestants take turns within a round, and the next round starts with the
// next one, so that a slow minute of the machine hits them all. A value is the
// median of the rounds; a count of what must not happen is their sum or worst.
//
// With -node it compares nothing: it runs the supervisor over that geth, once
// as it polls and once as it subscribes, and measures what seeing the node
// costs and how soon a block is seen:
//
//	go run ./e2e/bench -supervisor ./wemixvisor -node .cache/bin/geth-v1.16.9
//
// With -backup it measures the backup commands against tar and zstd, on generated
// chain data or that of -data:
//
//	go run ./e2e/bench -supervisor ./wemixvisor -backup -gb 1
//
// The exit code says whether it could measure, never how fast anything was:
// bars are shown, not enforced.
//
// The program is also its own stage and child: [stage] prepares the namespace
// and becomes the contestant, [child] is what the contestant starts.
package main
