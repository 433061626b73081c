#!/usr/bin/env node
// Only what the oldest Node can read, so that it can say that it is too old.
var needed = require('../package.json').engines.node.replace(/[^0-9.]/g, '');

function isOlder(version, than) {
  var a = version.split('.').map(Number);
  var b = than.split('.').map(Number);
  return a[0] < b[0] || (a[0] === b[0] && a[1] < (b[1] || 0));
}

if (isOlder(process.versions.node, needed)) {
  var found = ', and this is ' + process.versions.node;
  console.error('bang: Node.js ' + needed + ' or newer is needed' + found);
  process.exit(2);
} else {
  require('./start.js');
}
