// Package upgrade knows which binary the node runs and when that changes.
//
// The volume is the truth. A [Home] is the part of it that is ours: the binary
// the volume began with (genesis), the ones that came later (upgrades/NAME) and
// the relative link current to one of them, which is only ever replaced by
// rename(2). The layout is cosmovisor's, so that its trees can be adopted.
//
// A [Plan] says which upgrade is to be applied and when. Plans lie in files on
// the volume, ours and foreign ones, and the [Queue] is the only one who reads
// them. The [Journal] holds what became of each: a [Record] with every stage it
// was in.
//
// The [Upgrader] applies them. A plan is prepared while the node runs: its
// binary is fetched, checked and tried, the snapshot made ready. When its height
// has come, and the quorum gate is open, it is handed to the supervisor as a
// change. With the node down the change commits the snapshot, runs hooks and
// replaces the link; then the new binary is on trial, and goes back at most
// once. Each step is journalled, and on disk, before it is done. So whoever
// loses power in between finds the old binary or the new one, and goes on.
//
//	files ──> Queue ──> Upgrader ──> supervisor.Change{apply, try, revert}
//	                      │   │              │
//	      fetch, inspect ─┘   └─> Journal <──┘
//
// A node that exits by itself when a plan is due is upgraded, not restarted: the
// supervisor asks [Upgrader.Next] before it counts a crash.
package upgrade
