//! SeaweedFS as a process of its own, on loopback only: object storage whose conditional writes hold.
//!
//! It runs under a shell that waits for the end of its input, which only this process can write to: so it is killed when
//! the [`Weed`] is dropped, and when this process ends in any way, SIGKILL included.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The access key that it takes.
pub const ACCESS_KEY: &str = "igor";
/// Its secret.
pub const SECRET_KEY: &str = "igor-secret-of-tests";
/// Both, as the environment of a process has them.
pub const ENVIRONMENT: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
/// The bucket that it has.
pub const BUCKET: &str = "agents";

/// It takes about 4 s on a machine that does nothing else.
const READY_LIMIT: Duration = Duration::from_mins(3);
const STARTS_MAX: usize = 3;
/// Runs the server, says its pid, and kills it when the input ends.
const GUARD: &str = r#"log=$1; shift; "$@" > "$log" 2>&1 < /dev/null & echo $!; read -r _; kill -KILL $!; wait"#;

/// A running SeaweedFS with the bucket [`BUCKET`].
pub struct Weed {
    guard: Child,
    input: Option<ChildStdin>,
    pid: u32,
    s3: SocketAddr,
    // Dropped, so deleted, after the process has ended.
    directory: tempfile::TempDir,
}

impl Weed {
    /// Starts one, and comes back once it answers.
    ///
    /// # Errors
    ///
    /// What it said, where it does not.
    pub fn start(binary: &Path) -> Result<Self, String> {
        // A port that was free may be taken before the server has it.
        let mut why = String::new();
        for _ in 0..STARTS_MAX {
            match Self::start_once(binary) {
                Ok(weed) => return Ok(weed),
                Err(error) => why = error,
            }
        }
        Err(format!("SeaweedFS did not start: {why}"))
    }

    fn start_once(binary: &Path) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        // Without `Admin`, which would have a bucket made by the first write to it.
        let identity = format!(
            r#"{{"identities":[{{"name":"igor","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Read","Write","List","Tagging"]}}]}}"#
        );
        std::fs::write(path("s3.json"), identity).map_err(|error| error.to_string())?;
        std::fs::create_dir(path("data")).map_err(|error| error.to_string())?;
        let ports = free_ports::<8>().map_err(|error| error.to_string())?;
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &path("log")])
            .arg(binary)
            // Its own logs would go to the shared temporary directory.
            .args([format!("-logdir={}", directory.path().display()), "server".to_owned()])
            .args([format!("-dir={}", path("data")), "-ip=127.0.0.1".to_owned(), "-ip.bind=127.0.0.1".to_owned()])
            .args([format!("-master.port={master}"), format!("-master.port.grpc={master_grpc}")])
            .args([format!("-volume.port={volume}"), format!("-volume.port.grpc={volume_grpc}")])
            .args(["-filer".to_owned(), format!("-filer.port={filer}"), format!("-filer.port.grpc={filer_grpc}")])
            .args(["-s3".to_owned(), format!("-s3.port={s3}"), format!("-s3.port.grpc={s3_grpc}")])
            .args([format!("-s3.config={}", path("s3.json")), "-s3.iam=false".to_owned()])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256", "-volume.max=50"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = guard.stdin.take();
        let mut line = String::new();
        let said = guard.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let weed = Self {
            guard,
            input,
            pid: line.trim().parse().map_err(|_| format!("the guard said {line:?} ({said:?})"))?,
            s3: loopback(s3),
            directory,
        };
        weed.wait(loopback(filer)).map_err(|why| format!("{why}\n{}", tail(Path::new(&weed.log()))))?;
        Ok(weed)
    }

    /// Its S3 address, such as `http://127.0.0.1:40000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// The same as an address of a socket.
    pub fn address(&self) -> SocketAddr {
        self.s3
    }

    /// Its process, to be paused and the like.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Waits until it has made the bucket and answers for it.
    fn wait(&self, filer: SocketAddr) -> Result<(), String> {
        let began = Instant::now();
        let mut made = false;
        while began.elapsed() < READY_LIMIT {
            if !is_alive(self.pid) {
                return Err("it ended".to_owned());
            }
            // To the filer, a bucket is a directory.
            made = made || matches!(ask(filer, &format!("POST /buckets/{BUCKET}/")), Some(200..=299));
            // Without credentials S3 answers 403 once it works.
            if made && matches!(ask(self.s3, &format!("GET /{BUCKET}")), Some(403)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("it did not answer within {} s", READY_LIMIT.as_secs()))
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.guard.wait();
    }
}

/// The binary: named by `IGOR_WEED`, on the path, or where `scripts/weed` puts it.
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os("IGOR_WEED").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("weed")).collect::<Vec<_>>();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cached = cache.map(|cache| cache.join("igor/tools/weed/bin/weed"));
    named.into_iter().chain(on_path).chain(cached).find(|binary| binary.is_file())
}

/// Ports that nobody has, all held at once so that they differ.
fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut held = vec![];
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The status of an answer to a request without a body.
fn ask(server: SocketAddr, request: &str) -> Option<u16> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&server, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(format!("{request} HTTP/1.0\r\nHost: {server}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.split(' ').nth(1)?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
