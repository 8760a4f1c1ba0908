package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"
)

// Route is one row of the table: what is answered, where, and with what.
type Route struct {
	Method, Path string // the path below /api/v1/, as http.ServeMux reads it
	Summary      string
	Query        []Param
	deed
}

// Param is one thing behind the question mark.
type Param struct{ Name, Type, About string }

// Mutates reports whether the route changes something. Then it may answer 409.
func (r Route) Mutates() bool { return r.Method != http.MethodGet }

// deed is how a route is answered, and with which types: those of the function
// itself, so that the document cannot say anything else.
type deed struct {
	body, answer reflect.Type // nil: none, no JSON
	status       int          // of a success
	media        string       // of an answer that is no JSON
	do           func(w http.ResponseWriter, r *http.Request) error
}

// tells answers with what value returns.
func tells[A any](value func(*http.Request) (A, error)) deed {
	return deed{answer: reflect.TypeFor[A](), status: http.StatusOK, do: func(w http.ResponseWriter, r *http.Request) error {
		a, err := value(r)
		if err != nil {
			return err
		}
		answer(w, http.StatusOK, a)
		return nil
	}}
}

// does reads the body and answers what act returns, which may take its time.
func does[B, A any](status int, act func(*http.Request, B) (A, error)) deed {
	return deed{body: reflect.TypeFor[B](), answer: reflect.TypeFor[A](), status: status, do: func(w http.ResponseWriter, r *http.Request) error {
		var b B
		if err := decode(w, r, &b); err != nil {
			return err
		}
		relax(w)
		a, err := act(r, b)
		hurry(w)
		if err != nil {
			return err
		}
		answer(w, status, a)
		return nil
	}}
}

// sends answers with bytes of a kind of their own.
func sends(media string, send func(http.ResponseWriter, *http.Request) error) deed {
	return deed{media: media, status: http.StatusOK, do: send}
}

// upgrades leaves HTTP.
func upgrades(serve func(http.ResponseWriter, *http.Request) error) deed {
	return deed{status: http.StatusSwitchingProtocols, do: serve}
}

// decode reads a JSON body; an empty one leaves to as it is.
func decode(w http.ResponseWriter, r *http.Request, to any) error {
	if r.ContentLength > bodyMax { // whatever it says
		return &http.MaxBytesError{Limit: bodyMax}
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	body.DisallowUnknownFields()
	err := body.Decode(to)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = body.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("more than one value")
		}
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return malformed("read body: %w", err)
}

// relax lifts the deadlines of the connection: what follows may take as long as
// the node's grace, and the server's own deadline would end the request's
// context.
func relax(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}

// hurry sets a deadline for what is written from now on.
func hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(usual.write))
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, fmt.Appendf(nil, `{"error":%q,"code":"failed"}`, "answer cannot be written as JSON")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

func refuse(w http.ResponseWriter, err error) {
	f := faultOf(err)
	if f.status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	answer(w, f.status, Refusal{Error: f.Error(), Code: f.code})
}
