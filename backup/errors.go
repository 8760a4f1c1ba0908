package backup

import "errors"

// What callers branch on. Each is wrapped with the thing and the cause.
var (
	// ErrInUse says that a process holds a lock in the data directory.
	ErrInUse = errors.New("the data directory is in use")

	// ErrNoSpace says that the file system lacks the room, and how much.
	ErrNoSpace = errors.New("no space")

	// ErrChanged says that a file which the snapshot shares with the node was
	// edited in place, so that the snapshot does not hold what it held.
	ErrChanged = errors.New("changed since the snapshot")

	// ErrNotFound says that there is no such snapshot or archive.
	ErrNotFound = errors.New("no such backup")

	// ErrCorrupt says that what is on disk is not what was written.
	ErrCorrupt = errors.New("corrupt")

	// ErrBusy says that somebody else works on the same files of ours.
	ErrBusy = errors.New("busy")

	// ErrPartial says that some of the node's data lies where a snapshot does not
	// reach: behind a mount, or outside the data directory. The rest must not go
	// back without it.
	ErrPartial = errors.New("the snapshot is without part of the node's data")

	// ErrIdentity says that a file of the node's identity is gone that was there
	// when the node stopped. The node must not start: it would make itself another.
	ErrIdentity = errors.New("the node's identity is missing")

	// ErrUnfinished says that the data directory is between two states. The node
	// must not start before [Snapshotter.Recover] has succeeded.
	ErrUnfinished = errors.New("the data directory is half swapped")
)
