package alert

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secrets are what of a channel's URL must never be seen.
type secrets struct{ words *regexp.Regexp }

// addressed are the services whose URL has a server's address as its host. With
// the others it is a token, an account or a topic.
var addressed = []string{"generic", "gotify", "mattermost", "ntfy", "rocketchat", "smtp"}

// shown is what of a URL may be seen: its scheme, and its host where that is an
// address.
func shown(u *url.URL) string {
	service, _, _ := strings.Cut(u.Scheme, "+")
	if u.Host == "" || !slices.Contains(addressed, service) || service == "ntfy" && strings.Trim(u.Path, "/") == "" {
		return service
	}
	return service + "://" + u.Host
}

// shortest is the length below which a word is none worth hiding: hiding "yes"
// would make other words unreadable.
const shortest = 5

// secretsOf takes a URL apart: whatever is not its scheme or an address. The
// library takes it apart too and puts the parts together anew, so each word in
// them counts.
func secretsOf(u *url.URL) secrets {
	parts := []string{u.Path, u.RawPath, u.Opaque, u.Fragment, u.RawQuery, u.User.Username()}
	if password, ok := u.User.Password(); ok {
		parts = append(parts, password)
	}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	if !strings.Contains(shown(u), "://") {
		parts = append(parts, u.Host)
	}
	var words []string
	for _, part := range parts {
		words = append(words, part)
		words = append(words, strings.FieldsFunc(part, func(r rune) bool { return strings.ContainsRune("/:,@&=?+- ", r) })...)
	}
	var quoted []string
	for _, w := range words {
		w = strings.ToValidUTF8(w, "?") // as hide has it; no pattern is made of anything else
		for _, form := range []string{w, url.QueryEscape(w), url.PathEscape(w)} {
			if len(form) >= shortest {
				quoted = append(quoted, regexp.QuoteMeta(form))
			}
		}
	}
	if len(quoted) == 0 {
		return secrets{}
	}
	// The longest first: of two words one may begin like the other.
	slices.SortFunc(quoted, func(a, b string) int { return len(b) - len(a) })
	return secrets{regexp.MustCompile("(?i)" + strings.Join(slices.Compact(quoted), "|"))}
}

var anyURL = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)([^\s/"'<>?#]*@)?([^\s/"'<>?#]*)[^\s"'<>]*`)

// hide returns text in one line without any of the secrets; of a URL it leaves
// scheme and host.
func (s secrets) hide(text string) string {
	text = anyURL.ReplaceAllString(strings.ToValidUTF8(text, "?"), "$1$3")
	if s.words != nil {
		text = s.words.ReplaceAllString(text, "***")
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return text
}
