// Package upgrade knows which binary the node runs and when that changes.
//
// The volume is the truth. A [Home] is the part of it that is ours: the binary
// the volume began with (genesis), the ones that came later (upgrades/NAME) and
// the relative link current to one of them, which is only ever replaced by
// rename(2). The layout is cosmovisor's, so that its trees can be adopted.
package upgrade
