// Gets the cdflow program that pinned.json names, from the runner's tool cache, the release page or a mirror.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { download, shownUrl } = require('./download.js');
const { Failure } = require('./step.js');

// The input `cdflow-mirror`.
const MIRROR = 'INPUT_CDFLOW-MIRROR';
// A larger program is not ours, and must not fill the memory.
const LARGEST = 512 << 20;

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
// Release files have Docker's names of platforms.
const archiveName = (version, arch) => `cdflow-v${version}-linux-${arch === 'x64' ? 'amd64' : arch}.tar.gz`;

// Returns the path of a program that has the pinned sum.
async function fetchProgram() {
  const { version, url, sum } = pinned();
  const folders = [process.env.RUNNER_TOOL_CACHE, process.env.RUNNER_TEMP].filter(Boolean);
  const places = folders.map((folder) => path.join(folder, 'cdflow', version, process.arch, 'cdflow'));
  const cached = places.find((place) => fs.existsSync(place) && sha256(fs.readFileSync(place)) === sum);
  if (cached) return cached;

  console.log(`Fetching cdflow ${version}: ${shownUrl(url)}`);
  const program = programIn(await download(url), url);
  const found = sha256(program);
  if (found !== sum) {
    throw new Failure(
      9,
      `cdflow ${version} has another SHA-256 than runner/pinned.json: \`${shownUrl(url)}\`, ${found} instead of ${sum}`,
      'copy the file from the release page to the mirror again',
    );
  }
  return store(program, places);
}

function pinned() {
  const { version, url, sha256: sums } = require('./pinned.json');
  if (!version) {
    throw new Failure(
      2,
      'this commit of the Action names no release of cdflow: `runner/pinned.json` is empty',
      'use the commit of a tag such as `action-v1.2.3`: the release workflow fills the file there',
    );
  }
  const platform = `${process.platform}-${process.arch}`;
  if (!sums[platform]) {
    throw new Failure(
      2,
      `there is no cdflow ${version} for this runner: \`${platform}\``,
      `run the job on one of: ${Object.keys(sums).join(', ')}`,
    );
  }
  const mirror = process.env[MIRROR]?.trim() || url;
  if (!URL.canParse(mirror) || !['https:', 'file:'].includes(new URL(mirror).protocol)) {
    throw new Failure(
      2,
      `the input \`cdflow-mirror\` is \`${shownUrl(mirror)}\``,
      'set it to an address with `https:`, or to a folder of the runner with `file:`, such as `file:/opt/cdflow`',
    );
  }
  const folder = mirror.endsWith('/') ? mirror : `${mirror}/`;
  return { version, url: new URL(archiveName(version, process.arch), folder), sum: sums[platform] };
}

// Returns the only file of an archive. A tar has a header of 512 bytes before the file; its size is there in octal.
function programIn(archive, url) {
  try {
    const tar = zlib.gunzipSync(archive, { maxOutputLength: LARGEST });
    return tar.subarray(512, 512 + parseInt(tar.toString('latin1', 124, 136), 8));
  } catch (error) {
    throw new Failure(
      9,
      `the archive of cdflow is damaged: \`${shownUrl(url)}\`, ${error.message}`,
      'copy the file from the release page to the mirror again',
    );
  }
}

// Writes the checked program into the first folder that can be written. Under its name there is never a part of it:
// other jobs on this machine might start it at the same time.
function store(program, places) {
  const reasons = [];
  for (const place of places) {
    const partial = `${place}.${crypto.randomUUID()}`;
    try {
      fs.mkdirSync(path.dirname(place), { recursive: true });
      try {
        fs.writeFileSync(partial, program, { flag: 'wx', mode: 0o755 });
        fs.renameSync(partial, place);
        return place;
      } finally {
        fs.rmSync(partial, { force: true });
      }
    } catch (error) {
      reasons.push(error.message);
    }
  }
  throw new Failure(
    2,
    `cannot keep cdflow on the runner: ${reasons.join('; ') || 'RUNNER_TOOL_CACHE and RUNNER_TEMP are not set'}`,
    'make one of the folders RUNNER_TOOL_CACHE and RUNNER_TEMP writable, with 100 MB of free space',
  );
}

module.exports = { MIRROR, archiveName, fetchProgram, programIn, sha256 };
