// Package chain asks the node about itself. It is the only JSON-RPC client of
// the program.
//
// [Client] is one connection to one address, whatever the transport; what it
// reads is bounded in size and time, because the other side may be anything.
// [Follower] is the one poller: it owns what is known of the node, publishes it
// as [Facts], and everybody else reads those.
//
// Nothing here acts on the node, and nothing here knows what the facts are for.
package chain
