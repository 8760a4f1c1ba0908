package main

import (
	"errors"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// apiSettings open the API to other machines.
type apiSettings struct {
	apiAddress   string
	apiTokenFile string
	apiTLSCert   string
	apiTLSKey    string
	apiOrigins   []string
}

func (s *apiSettings) define(r *reader) {
	r.text(&s.apiAddress, "api-address", "", "listen address of REST and WebSocket; needs api-token-file (default off)")
	r.text(&s.apiTokenFile, "api-token-file", "", "`file` with the token of at least 32 characters that every request over TCP needs; mode 0600")
	r.text(&s.apiTLSCert, "api-tls-cert", "", "PEM `file` with the certificate of api-address; read again when it changes")
	r.text(&s.apiTLSKey, "api-tls-key", "", "PEM `file` with its key")
	r.add("api-origins", "", "web `origins` that browsers may call the API from, divided by commas: https://dashboard.example", func(text string) (err error) {
		s.apiOrigins, err = api.ParseOrigins(text)
		return err
	})
}

// apiOn reports whether the API is open to other machines.
func (s *apiSettings) apiOn() bool { return s.apiAddress != "" && s.apiAddress != "off" }

func (s *apiSettings) complete() error {
	if s.apiOn() && s.apiTokenFile == "" {
		return errors.New("api-address (DAEMON_API_ADDRESS): needs api-token-file: whoever reaches the port could stop the node")
	}
	if (s.apiTLSCert == "") != (s.apiTLSKey == "") {
		return errors.New("api-tls-cert (DAEMON_API_TLS_CERT), api-tls-key (DAEMON_API_TLS_KEY): one needs the other")
	}
	return nil
}
