// Package backup keeps a node's data safe, in two tiers.
//
// A snapshot is a rollback point. With the node stopped, what the node never
// changes is hard-linked, and the little that it does is copied, into a mirror
// tree below the data directory; going back to it is a few renames, at any size.
// The time the node is down for it follows the mutable bytes, not the data: see
// [Snapshotter].
//
// An archive is the portable backup: one .tar.zst, made from a snapshot when the
// node is up again, that ordinary tools unpack.
//
// The package neither starts nor stops a process. It refuses while the node
// holds a lock, and it never touches the node's identity: a node key that went
// back in time, or that exists twice, can sign twice.
package backup
