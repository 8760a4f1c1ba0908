package main

import (
	"io"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// ownLog is our own log. Its level and format can change.
type ownLog struct {
	w    io.Writer
	swap log.SwapLogger
}

// newLog writes our own log to w, which must not block.
func newLog(s *settings, w io.Writer) *ownLog {
	l := &ownLog{w: w}
	l.set(s)
	return l
}

func (l *ownLog) set(s *settings) {
	logger := log.NewLogfmtLogger(l.w)
	if s.logFormat == "json" {
		logger = log.NewJSONLogger(l.w)
	}
	l.swap.Swap(level.NewFilter(logger, level.Allow(level.ParseDefault(s.logLevel, level.InfoValue()))))
}

func (l *ownLog) logger() log.Logger {
	return log.With(&l.swap, "ts", log.TimestampFormat(time.Now, time.RFC3339Nano))
}
