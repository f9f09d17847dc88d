//! Load for the benchmarks: N clients, each with one connection and one request at a time (a closed loop).
//!
//! Owns: requests and their times. Never: which server is measured, how it was started, or what CPU it used; see
//! `bench/registry.py`. Prints one line of JSON.
#![forbid(unsafe_code)]

mod http;
mod image;
mod random;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use http::Connection;
use image::Image;
use random::Random;

/// Load for the benchmarks.
#[derive(Parser)]
struct Arguments {
    /// `host:port` of the server.
    #[arg(long)]
    host: String,
    /// A header for each request, as `Name: value`.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Clients at once.
    #[arg(long, default_value_t = 2)]
    clients: u64,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Requests of one kind at some paths, the first the most often (Zipf 1.0), for some seconds.
    Get {
        /// GET, HEAD, or `both` in turn.
        #[arg(long, default_value = "GET")]
        method: String,
        /// Seconds to run.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// The paths.
        paths: Vec<String>,
    },
    /// Each path once, in order, shared between the clients.
    Walk {
        /// The paths.
        paths: Vec<String>,
    },
    /// Pushes images of one layer, each with bytes of its own: two blobs, then the manifest by tag.
    Push {
        #[command(flatten)]
        images: Images,
    },
    /// Pulls what `push` with the same options has pushed: manifest by tag, config, layer.
    Pull {
        #[command(flatten)]
        images: Images,
        /// Pulls in all, one image after the other.
        #[arg(long, default_value_t = 1000)]
        pulls: u64,
    },
}

/// Which images; the same options name the same ones.
#[derive(Args)]
struct Images {
    /// The repository.
    #[arg(long)]
    repository: String,
    /// How many.
    #[arg(long = "images", default_value_t = 100)]
    count: u64,
    /// Bytes of a layer.
    #[arg(long, default_value_t = 1 << 20)]
    layer_bytes: usize,
    /// Where the random bytes start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Images {
    fn make(&self) -> Vec<Image> {
        (0..self.count).map(|number| Image::new(self.seed, number, self.layer_bytes)).collect()
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let (operations, took, mut times) = match &arguments.work {
        Work::Get { method, seconds, paths } => get(&arguments, method, Duration::from_secs_f64(*seconds), paths)?,
        Work::Walk { paths } => shared(&arguments, paths.len() as u64, |connection, number| {
            let path = &paths[usize::try_from(number).expect("a path's number")];
            expect(&connection.call("GET", path, "", None)?, 200, path)
        })?,
        Work::Push { images } => {
            // The images are made before the clock starts: hashing is the client's work and the same for every server.
            let made = images.make();
            shared(&arguments, images.count, |connection, number| {
                made[usize::try_from(number).expect("an image's number")].push(connection, &images.repository)
            })?
        }
        Work::Pull { images, pulls } => {
            let mut made = images.make();
            made.iter_mut().for_each(Image::forget_layer);
            shared(&arguments, *pulls, |connection, number| {
                let image = &made[usize::try_from(number % images.count).expect("an image's number")];
                image.pull(connection, &images.repository)
            })?
        }
    };
    times.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = ((times.len().max(1) - 1) as f64 * share) as usize;
        times.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = operations as f64 / took.as_secs_f64();
    let line = serde_json::json!({
        "operations": operations,
        "seconds": took.as_secs_f64(),
        "per_second": rate,
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
    });
    io::Write::write_all(&mut io::stdout(), format!("{line}\n").as_bytes())
}

type Measured = (u64, Duration, Vec<Duration>);

fn get(arguments: &Arguments, method: &str, length: Duration, paths: &[String]) -> io::Result<Measured> {
    let started = Instant::now();
    let client = |number: u64| {
        let mut connection = Connection::open(&arguments.host, &arguments.headers)?;
        let mut random = Random::new(number + 1);
        let zipf = Zipf::new(paths.len());
        let mut times = Vec::with_capacity(1 << 16);
        let mut head = method == "HEAD";
        while started.elapsed() < length {
            let path = &paths[zipf.pick(&mut random)];
            let begun = Instant::now();
            let answer = connection.call(if head { "HEAD" } else { "GET" }, path, "", None)?;
            times.push(begun.elapsed());
            expect(&answer, 200, path)?;
            if method == "both" {
                head = !head;
            }
        }
        Ok(times)
    };
    clients(arguments.clients, &client, started)
}

/// Runs numbered operations, each once, by whichever client is free.
fn shared(
    arguments: &Arguments,
    operations: u64,
    operation: impl Fn(&mut Connection, u64) -> io::Result<()> + Sync,
) -> io::Result<Measured> {
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let client = |_| {
        let mut connection = Connection::open(&arguments.host, &arguments.headers)?;
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= operations {
                return Ok(times);
            }
            let begun = Instant::now();
            operation(&mut connection, number)?;
            times.push(begun.elapsed());
        }
    };
    clients(arguments.clients, &client, started)
}

fn clients(
    count: u64,
    client: &(impl Fn(u64) -> io::Result<Vec<Duration>> + Sync),
    started: Instant,
) -> io::Result<Measured> {
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || client(number))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a client does not panic"));
        joined.collect::<io::Result<Vec<_>>>()
    })?;
    let took = started.elapsed();
    let times = times.concat();
    Ok((times.len() as u64, took, times))
}

/// Fails unless the answer has this status.
pub(crate) fn expect(answer: &http::Answer, status: u16, what: &str) -> io::Result<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} answered {}, not {status}", answer.status)))
}

/// Draws numbers from 0; the probability of k is proportional to 1/(k+1).
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "a handful of paths")]
        let sums = (0..count).map(|k| (sum += 1.0 / (k + 1) as f64, sum).1).collect();
        Self { sums }
    }

    fn pick(&self, random: &mut Random) -> usize {
        let at = random.fraction() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum < at).min(self.sums.len() - 1)
    }
}
