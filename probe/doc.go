// Package probe tells how the node is doing.
//
// Actors push what they know into a [Prober]: the supervisor the node's state,
// the follower its facts, the [Sampler] memory and disk. A request only reads
// atomics and judges them by the clock, so a thousand probes a second never
// reach the node, and a head grows old without anybody polling.
//
// Three questions, three answers. Live: would a kill make anything better? Only
// a supervisor that hangs, a node that failed for good, or one that answered and
// went silent. Ready: should this node get traffic? Startup: may an orchestrator
// begin to judge? A chain that stands still is not ready and perfectly live.
//
// A limit once crossed is left only with a margin, so that a value resting at
// its limit does not make the answer flap; see [Config].
package probe
