// The release workflow calls this to fill pinned.json: node runner/pin.js VERSION URL ARCHIVE...
//
// The sum is that of the program in the archive, so that the cached program can be checked at each start.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { archiveName, programIn, sha256 } = require('./fetch.js');

const [version, url, ...archives] = process.argv.slice(2);
const sums = {};
for (const arch of ['x64', 'arm64']) {
  const archive = archives.find((file) => path.basename(file) === archiveName(version, arch));
  if (archive) sums[`linux-${arch}`] = sha256(programIn(fs.readFileSync(archive), `file:${archive}`));
}
if (Object.keys(sums).length !== archives.length || archives.length === 0) {
  throw new Error(`not the archives of version ${version}: ${archives.join(' ')}`);
}
const text = JSON.stringify({ version, url, sha256: sums }, null, 2);
fs.writeFileSync(path.join(__dirname, 'pinned.json'), `${text}\n`);
