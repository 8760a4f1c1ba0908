// Package api is how people and scripts drive a running supervisor: HTTP and
// WebSocket over a Unix socket that only its owner may open and, if wanted, over
// TCP behind a token; and the client the commands use.
//
// No route answers before the deed is done. What cannot be done now, because
// something else is being done to the node, is answered 409.
//
// There is one table of routes, [Server.routes]. The mux, the OpenAPI document
// and the README's table are made from it or checked against it. A new route is
// a row there and a method beside the others of its noun; a new topic is a
// constant in event.go and a [Hub.Publish] where the thing happens; an error
// that a caller branches on is a row in fault.go.
package api
