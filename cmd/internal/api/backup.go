package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/upgrade"
)

// Backup is one archive: its info.json.
type Backup struct{ backup.Info }

// BackupState is what a status tells of backups.
type BackupState struct {
	Last         *string            `json:"last"` // ids; null: there is none
	LastVerified *string            `json:"last_verified"`
	Running      *upgrade.BackupJob `json:"running"` // null: nothing is being done
}

// BackupStateOf shapes the figures and the job under way.
func BackupStateOf(f upgrade.BackupFigures, job *upgrade.BackupJob) BackupState {
	st := BackupState{Running: job}
	if f.Last != nil {
		st.Last = &f.Last.ID
	}
	if f.LastVerified != nil {
		st.LastVerified = &f.LastVerified.ID
	}
	return st
}

// BackupWish is the body of POST /api/v1/backups.
type BackupWish struct {
	Online         bool `json:"online,omitempty"`          // without stopping the node
	IncludeSecrets bool `json:"include_secrets,omitempty"` // and the node's identity
}

// RestoreWish is the body of POST /api/v1/backups/{id}/restore.
type RestoreWish struct {
	Force  bool   `json:"force,omitempty"`  // also what another node binary made
	Folder string `json:"folder,omitempty"` // where the archive lies; none: in the repository
}

// PruneWish is the body of POST /api/v1/backups/prune.
type PruneWish struct {
	DryRun bool `json:"dry_run,omitempty"` // only tell
}

// backupRoutes are the rows about backups. Each answers when what it asks for is
// done and on disk, which takes as long as it takes; GET status tells meanwhile
// how far it has come. A client that leaves does not end it.
func (s *Server) backupRoutes() []Route {
	return []Route{
		{get, "backups", "the backups, newest first", nil, tells(s.backups)},
		{get, "backups/{id}", "one backup", nil, tells(s.backup)},
		{post, "backups", "makes a backup, and answers when it is verified and on disk", nil, does(http.StatusCreated, s.createBackup)},
		{post, "backups/{id}/verify", "reads a backup, all of it, and answers when it is found whole", nil, does(http.StatusOK, s.verifyBackup)},
		{post, "backups/{id}/restore", "makes a backup's data the node's, and answers when it is", nil, does(http.StatusOK, s.restoreBackup)},
		{post, "backups/prune", "deletes the backups that nothing keeps, and says which", nil, does(http.StatusOK, s.pruneBackups)},
		{http.MethodDelete, "backups/{id}", "deletes a backup", nil, does(http.StatusOK, s.removeBackup)},
	}
}

// vault returns the backups, if this supervisor makes any.
func (s *Server) vault() (*upgrade.Backups, error) {
	if s.cfg.Backups == nil {
		return nil, fault{http.StatusNotImplemented, "off", fmt.Errorf("this supervisor makes no backups")}
	}
	return s.cfg.Backups, nil
}

// archive returns the backups and the id in the path, which must be one: it
// becomes a file name.
func (s *Server) archive(r *http.Request) (*upgrade.Backups, string, error) {
	b, err := s.vault()
	id := r.PathValue("id")
	if _, _, _, ok := backup.ParseID(id); err == nil && !ok {
		err = missing("no such backup: %q", shortened(id))
	}
	return b, id, err
}

func wrapped(infos []backup.Info) []Backup {
	all := make([]Backup, len(infos))
	for i, info := range infos {
		all[i] = Backup{info}
	}
	return all
}

func (s *Server) backups(*http.Request) ([]Backup, error) {
	b, err := s.vault()
	if err != nil {
		return nil, err
	}
	infos, err := b.List()
	return wrapped(infos), err
}

func (s *Server) backup(r *http.Request) (Backup, error) {
	b, id, err := s.archive(r)
	if err != nil {
		return Backup{}, err
	}
	info, err := b.Info(id)
	return Backup{info}, err
}

func (s *Server) createBackup(r *http.Request, w BackupWish) (Backup, error) {
	b, err := s.vault()
	if err != nil {
		return Backup{}, err
	}
	info, err := b.Create(r.Context(), upgrade.BackupOptions{Online: w.Online, IncludeSecrets: w.IncludeSecrets})
	return Backup{info}, err
}

func (s *Server) verifyBackup(r *http.Request, _ struct{}) (Backup, error) {
	b, id, err := s.archive(r)
	if err != nil {
		return Backup{}, err
	}
	infos, err := b.Verify(r.Context(), id)
	if err != nil {
		return Backup{}, err
	}
	return Backup{infos[0]}, nil
}

func (s *Server) restoreBackup(r *http.Request, w RestoreWish) (Backup, error) {
	b, id, err := s.archive(r)
	if err != nil {
		return Backup{}, err
	}
	from := id
	if w.Folder != "" {
		info, err := b.Info(w.Folder)
		if err != nil {
			return Backup{}, err
		}
		if from = w.Folder; info.ID != id {
			return Backup{}, fmt.Errorf("%w: in %s lies %s, not %s", ErrInvalid, w.Folder, info.ID, id)
		}
	}
	info, err := b.Restore(r.Context(), from, w.Force)
	return Backup{info}, err
}

func (s *Server) pruneBackups(r *http.Request, w PruneWish) ([]Backup, error) {
	b, err := s.vault()
	if err != nil {
		return nil, err
	}
	infos, err := b.Prune(r.Context(), w.DryRun)
	return wrapped(infos), err
}

func (s *Server) removeBackup(r *http.Request, _ struct{}) (Backup, error) {
	b, id, err := s.archive(r)
	if err != nil {
		return Backup{}, err
	}
	info, err := b.Remove(r.Context(), id)
	return Backup{info}, err
}

// Delete deletes what lies at route, and reads the answer into to.
func (c *Client) Delete(ctx context.Context, route string, to any) error {
	return c.call(ctx, http.MethodDelete, route, nil, to)
}
