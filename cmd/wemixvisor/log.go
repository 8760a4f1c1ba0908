package main

import (
	"io"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// newLogger writes our own log to w, which must not block.
func newLogger(s *settings, w io.Writer) log.Logger {
	logger := log.NewLogfmtLogger(w)
	if s.logFormat == "json" {
		logger = log.NewJSONLogger(w)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(s.logLevel, level.InfoValue())))
	return log.With(logger, "ts", log.TimestampFormat(time.Now, time.RFC3339Nano))
}
