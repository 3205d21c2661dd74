// Preloaded into the suite's origin server, which would listen on all addresses:
// binds it to loopback.
const net = require('node:net')

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port) {
  return listen.call(this, { host: '127.0.0.1', port: Number(port) })
}
