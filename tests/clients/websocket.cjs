// What Node.js has from 22 on, for recipes that are written for it and for browsers.
globalThis.WebSocket ??= require('ws');
globalThis.CloseEvent ??= class CloseEvent extends Event {};
