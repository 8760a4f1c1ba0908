package main

// logSettings say what is written down, and how.
type logSettings struct {
	logFile   string
	logLevel  string
	logFormat string
}

func (s *logSettings) define(r *reader) {
	r.text(&s.logFile, "log-file", "", "the node's output also to this `file`, rotated at 100 MB, five old ones kept")
	r.word(&s.logLevel, "log-level", "info", "own log: debug, info, warn, error", "debug", "info", "warn", "error")
	r.word(&s.logFormat, "log-format", "logfmt", "own log: logfmt or json", "logfmt", "json")
}
