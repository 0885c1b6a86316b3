// The global WebSocket of Node.js 22 and newer, for recipes that are written for it and for browsers.
globalThis.WebSocket ??= require('ws');
globalThis.CloseEvent ??= class CloseEvent extends Event {};
