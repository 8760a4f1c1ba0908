package backup

import "context"

// CommitFrozen is Commit for a node that stands still (SIGSTOP) and keeps its
// locks: what comes of it is what a power cut would leave, without the power cut.
// A node that starts on it repairs its databases, and may have lost its newest
// blocks. o.Consistency becomes [Frozen].
func (s *Snapshotter) CommitFrozen(ctx context.Context, reason string, o Origin) (Snapshot, error) {
	o.Consistency, o.CleanShutdown = Frozen, false
	return s.commit(ctx, reason, o, nil)
}

// Discard deletes what Prepare made, if nobody committed it: it holds on to files
// that the node has deleted meanwhile.
func (s *Snapshotter) Discard(ctx context.Context) error {
	at, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	d := s.next
	if s.next = nil; d == nil {
		return nil
	}
	d.site = at
	return d.erase(ctx)
}
