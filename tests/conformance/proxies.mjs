// How each server under test is started: a temporary directory, a configuration of its own, two loopback ports.
//
// The peers' settings are those of the suite's published measurements (its docker/ directory): caching on, nothing
// cached that says nothing about freshness, revalidation on where it is a switch. Otherwise each server's defaults.

import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const STARTING = 15_000
const STOPPING = 5_000

const here = path.dirname(fileURLToPath(import.meta.url))
const root = process.getuid?.() === 0
export const edgePath = path.resolve(here, '../../target/release/edge-server')

// name -> { title, version(), start({ origin, listen, dir, args }) -> { command, args, env?, owner? } }
// `owner` is the account the server changes to when started as root; its directory must be writable for it.
export const proxies = {
  edge: {
    title: 'tower-edge',
    version: () => /^version = "(.*)"/m.exec(fs.readFileSync(path.resolve(here, '../../Cargo.toml'), 'utf8'))[1],
    start: ({ origin, listen, edge, args }) => ({
      command: edge ?? edgePath,
      args: ['--origin', `http://127.0.0.1:${origin}`, '--listen', `127.0.0.1:${listen}`, '--name', 'conformance', ...args]
    })
  },

  nginx: {
    title: 'nginx',
    version: () => /nginx\/([\d.]+)/.exec(output('nginx', ['-v']))[1],
    start ({ origin, listen, dir }) {
      const conf = write(dir, 'nginx.conf', `
        ${root ? 'user www-data;' : ''}
        pid ${dir}/pid; error_log ${dir}/error.log; worker_processes 2;
        events { worker_connections 2048; }
        http {
          access_log off;
          client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi;
          uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
          proxy_cache_path ${dir}/cache levels=1:2 keys_zone=conformance:8m max_size=100m inactive=600m use_temp_path=off;
          server {
            listen 127.0.0.1:${listen};
            location / { proxy_pass http://127.0.0.1:${origin}; proxy_cache conformance; proxy_cache_revalidate on; }
          }
        }`)
      return { command: 'nginx', args: ['-e', `${dir}/error.log`, '-c', conf, '-g', 'daemon off;'], owner: 'www-data' }
    }
  },

  varnish: {
    title: 'Varnish',
    version: () => /varnish-([\d.]+)/.exec(output('varnishd', ['-V']))[1],
    start: ({ origin, listen, dir }) => ({
      command: 'varnishd',
      args: ['-F', '-j', 'none', '-n', dir, '-a', `127.0.0.1:${listen}`, '-b', `127.0.0.1:${origin}`, '-s', 'malloc,64M',
        '-p', 'default_ttl=0', '-p', 'default_grace=0', '-p', 'default_keep=3600']
    })
  },

  squid: {
    title: 'Squid',
    version: () => /Version ([\d.]+)/.exec(output('squid', ['-v']))[1],
    start ({ origin, listen, dir }) {
      const conf = write(dir, 'squid.conf', `
http_port 127.0.0.1:${listen} accel defaultsite=127.0.0.1 no-vhost
cache_peer 127.0.0.1 parent ${origin} 0 no-query no-digest originserver default name=suite
cache_peer_access suite allow all
http_access allow all
visible_hostname conformance
pid_filename ${dir}/squid.pid
cache_log ${dir}/cache.log
access_log none
coredump_dir ${dir}
netdb_filename none
pinger_enable off
shutdown_lifetime 1 second
`)
      return { command: 'squid', args: ['-N', '-f', conf], owner: 'proxy' }
    }
  },

  trafficserver: {
    title: 'Traffic Server',
    version: () => /Traffic Server ([\d.]+)/.exec(output('traffic_server', ['-V']))[1],
    start ({ origin, listen, dir }) {
      const etc = sub(dir, 'etc')
      fs.cpSync('/etc/trafficserver', etc, { recursive: true })
      write(etc, 'remap.config', `map http://127.0.0.1:${listen}/ http://127.0.0.1:${origin}/\n`)
      write(etc, 'storage.config', `${sub(dir, 'cache')} 64M\n`)
      write(etc, 'records.config', Object.entries({
        'admin.user_id': `STRING ${root ? 'trafficserver' : '#-1'}`,
        'http.server_ports': `STRING ${listen}:ip-in=127.0.0.1`,
        'http.wait_for_cache': 'INT 1',
        'http.insert_response_via_str': 'INT 0',
        'http.cache.required_headers': 'INT 2',
        'http.normalize_ae': 'INT 1',
        'reverse_proxy.enabled': 'INT 1',
        'url_remap.remap_required': 'INT 1',
        'url_remap.pristine_host_hdr': 'INT 1',
        'log.logging_enabled': 'INT 0'
      }).map(([key, value]) => `CONFIG proxy.config.${key} ${value}\n`).join(''))
      const layout = { prefix: '/usr', exec_prefix: '/usr', bindir: '/usr/bin', sbindir: '/usr/sbin', sysconfdir: etc,
        datadir: sub(dir, 'data'), includedir: '/usr/include', libdir: '/usr/lib/trafficserver',
        libexecdir: '/usr/lib/trafficserver/modules', localstatedir: sub(dir, 'state'), runtimedir: sub(dir, 'run'),
        logdir: sub(dir, 'log'), cachedir: sub(dir, 'cache') }
      const runroot = write(dir, 'runroot.yaml', Object.entries(layout).map(([key, value]) => `${key}: ${value}\n`).join(''))
      return { command: 'traffic_server', args: [`--run-root=${runroot}`], owner: 'trafficserver' }
    }
  },

  apache: {
    title: 'Apache httpd',
    version: () => /Apache\/([\d.]+)/.exec(output('apache2', ['-v']))[1],
    start ({ origin, listen, dir }) {
      // Debian's event MPM closes dozens of connections unanswered under the suite's 100 at once; worker does not.
      const modules = ['mpm_worker', 'authz_core', 'proxy', 'proxy_http', 'cache', 'cache_disk']
      const conf = write(dir, 'apache.conf', `
${modules.map(name => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
ServerRoot ${dir}
ServerName 127.0.0.1
Listen 127.0.0.1:${listen}
PidFile ${dir}/pid
DefaultRuntimeDir ${dir}
ErrorLog ${dir}/error.log
${root ? 'User www-data\nGroup www-data' : ''}
<VirtualHost *:${listen}>
  ProxyPass "/" "http://127.0.0.1:${origin}/"
  CacheEnable disk /
  CacheRoot ${sub(dir, 'cache')}
  CacheDirLevels 5
  CacheDirLength 3
  CacheDefaultExpire 0
  CacheIgnoreNoLastMod On
  CacheStoreExpired On
  UseCanonicalName On
  CacheHeader On
  CacheDetailHeader on
</VirtualHost>
`)
      return { command: 'apache2', args: ['-f', conf, '-DFOREGROUND'], owner: 'www-data' }
    }
  }
}

// Starts a server and waits until it forwards. Resolves to { base, stop }; `stop` leaves no process and no file behind.
export async function start (name, origin, { edge, args = [] } = {}) {
  if (name === 'none') return { base: `http://127.0.0.1:${origin}`, stop: async () => {} }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `conformance-${name}-`))
  const listen = await freePort()
  const plan = proxies[name].start({ origin, listen, dir, edge, args })
  if (root && plan.owner) {
    fs.chmodSync(dir, 0o755)
    execFileSync('chown', ['-R', plan.owner, dir])
  }
  const log = fs.openSync(path.join(dir, 'output'), 'w+')
  // A process group of its own, so that workers it forks can be ended with it.
  const child = spawn(plan.command, plan.args, { stdio: ['ignore', log, log], detached: true, env: { ...process.env, ...plan.env } })
  const ended = new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, signal) => resolve(`ended with ${signal ?? code}`))
  })
  let state = 'running'
  ended.then(how => { state = how })

  const emergency = () => {
    signal(child.pid, 'SIGKILL')
    fs.rmSync(dir, { recursive: true, force: true })
  }
  process.once('exit', emergency)
  const stop = async () => {
    if (state === 'running') {
      process.kill(child.pid, 'SIGTERM')
      await Promise.race([ended, pause(STOPPING)])
    }
    signal(child.pid, 'SIGKILL')
    await ended
    process.off('exit', emergency)
    fs.closeSync(log)
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }

  const base = `http://127.0.0.1:${listen}`
  for (const deadline = Date.now() + STARTING; Date.now() < deadline && state === 'running'; await pause(50)) {
    if (await status(`${base}/ready`) === 404) return { base, stop }
  }
  const said = fs.readFileSync(path.join(dir, 'output'), 'utf8').trim().split('\n').slice(-10).join('\n')
  await stop()
  throw new Error(`${name} did not come up (${state}): ${plan.command} ${plan.args.join(' ')}\n${said}`)
}

function signal (group, name) {
  try {
    if (group) process.kill(-group, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

// 404 is what the suite's origin says to a path it does not know: seen through the proxy, both are up.
function status (url) {
  return new Promise(resolve => {
    const request = http.get(url, { agent: false, timeout: 2_000 }, response => {
      response.resume()
      resolve(response.statusCode)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(undefined))
  })
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

function write (dir, name, text) {
  const file = path.join(dir, name)
  fs.writeFileSync(file, text)
  return file
}

function sub (dir, name) {
  const made = path.join(dir, name)
  fs.mkdirSync(made, { recursive: true })
  return made
}

// Some print their version on stdout, some on stderr.
function output (command, args) {
  return execFileSync('sh', ['-c', 'exec "$0" "$@" 2>&1', command, ...args], { encoding: 'utf8' })
}

function pause (ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}
