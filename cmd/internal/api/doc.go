// Package api is how people and scripts drive a running supervisor: HTTP over
// a Unix socket that only its owner may open, and the client the commands use.
//
// No route answers before the deed is done. What cannot be done now, because
// something else is being done to the node, is answered 409.
package api
