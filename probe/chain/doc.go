// Package chain asks the node about itself. It is the only JSON-RPC client of
// the program.
//
// [Client] is one connection to one address, whatever the transport; what it
// reads is bounded in size and time, because the other side may be anything.
// [Follower] is the one poller: it owns what is known of the node, publishes it
// as [Facts], and everybody else reads those.
//
// [Consensus] is how the network agrees and what of it depends on the node, one
// view for WBFT, QBFT, go-wemix and clique. The follower's second goroutine asks
// for it, and stops asking for what a node does not have. [Gate] is where a stop
// of a validator waits until the others can do without it.
//
// Nothing here acts on the node, and nothing here knows what the facts are for.
package chain
