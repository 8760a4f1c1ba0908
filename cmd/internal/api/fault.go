package api

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// Refusal is the body of every answer that is not a success.
type Refusal struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// fault is why a request is refused, and how that is answered.
type fault struct {
	status int
	code   string
	err    error
}

func (f fault) Error() string { return f.err.Error() }
func (f fault) Unwrap() error { return f.err }

// sentinels are the errors that keep their identity over the wire: the server
// answers with the code, the client turns the code into the error again.
var sentinels = []fault{
	{http.StatusConflict, "busy", supervisor.ErrBusy},
	{http.StatusNotFound, "unknown", upgrade.ErrUnknown},
	{http.StatusConflict, "refused", upgrade.ErrRefused},
	{http.StatusUnprocessableEntity, "past", upgrade.ErrPast},
	{http.StatusUnprocessableEntity, "bad_plan", upgrade.ErrPlan},
	{http.StatusUnprocessableEntity, "not_executable", reaper.ErrNotExecutable},
	{http.StatusUnprocessableEntity, "no_program", reaper.ErrNotFound},
	{http.StatusConflict, "running", supervisor.ErrRunning},
	{http.StatusConflict, "closed", supervisor.ErrClosed},
	{http.StatusNotImplemented, "no_channel", ErrNoChannel},
	{http.StatusNotImplemented, "no_governance", ErrNoGovernance},
	{http.StatusUnprocessableEntity, "invalid", ErrInvalid},
	{http.StatusConflict, "backup_busy", backup.ErrBusy},
	{http.StatusConflict, "in_use", backup.ErrInUse},
	{http.StatusConflict, "unfinished", backup.ErrUnfinished},
	{http.StatusConflict, "identity", backup.ErrIdentity},
	{http.StatusNotFound, "no_backup", backup.ErrNotFound},
	{http.StatusUnprocessableEntity, "corrupt", backup.ErrCorrupt},
	{http.StatusUnprocessableEntity, "format", backup.ErrFormat},
	{http.StatusUnprocessableEntity, "partial", backup.ErrPartial},
	{http.StatusUnprocessableEntity, "other_binary", upgrade.ErrOtherBinary},
	{http.StatusUnprocessableEntity, "custody", upgrade.ErrCustody},
	{http.StatusInternalServerError, "no_space", backup.ErrNoSpace},
	{http.StatusInternalServerError, "disk_full", syscall.ENOSPC},
}

// ErrInvalid says that a request was understood and that what it asks for makes
// no sense.
var ErrInvalid = errors.New("invalid")

func malformed(format string, values ...any) error {
	return fault{http.StatusBadRequest, "bad_request", fmt.Errorf(format, values...)}
}

func missing(format string, values ...any) error {
	return fault{http.StatusNotFound, "not_found", fmt.Errorf(format, values...)}
}

// faultOf places err: what is none of ours is our own failure.
func faultOf(err error) fault {
	var f fault
	if errors.As(err, &f) {
		return f
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fault{http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("body is over %d bytes", bodyMax)}
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return fault{s.status, s.code, err}
		}
	}
	return fault{http.StatusInternalServerError, "failed", err}
}

// told is an error the server told the client of.
type told struct {
	text string
	is   error // a sentinel, or nil
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.is }

// errorOf is what the client makes of a refusal.
func errorOf(no Refusal) error {
	for _, s := range sentinels {
		if s.code == no.Code {
			return told{no.Error, s.err}
		}
	}
	return told{text: no.Error}
}
