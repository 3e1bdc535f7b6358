//! The figures: medians over the rounds, ratios to `naive`, a table for people and JSON for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::load::Times;

/// One server in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Answers a second at saturation.
    rps: f64,
    /// Answers a second of the server's CPU time.
    rps_per_cpu: f64,
    /// Latency at half of saturation, microseconds.
    p50: f64,
    p99: f64,
    p999: f64,
    /// p99 of an ordinary tenth of a second, microseconds.
    ordinary_p99: f64,
    /// The share of time that the load stood still while latency was measured.
    paused: f64,
    /// Of it, what the host took.
    taken: f64,
    /// CPU time of Redis for a decision, microseconds; 0 where there is none.
    redis: f64,
}

impl Measured {
    pub fn new(saturated: &Times, cpu: Duration, half: &Times) -> Self {
        Measured {
            rps: saturated.per_second(),
            rps_per_cpu: saturated.micros.len() as f64 / cpu.as_secs_f64(),
            p50: half.percentile(0.5),
            p99: half.percentile(0.99),
            p999: half.percentile(0.999),
            ordinary_p99: half.ordinary_percentile(0.99),
            paused: half.paused.as_secs_f64() / half.elapsed.as_secs_f64(),
            taken: half.taken.as_secs_f64() / half.elapsed.as_secs_f64(),
            redis: 0.0,
        }
    }

    /// With the CPU time that Redis took for these answers.
    pub fn with_redis(self, saturated: &Times, cpu: Duration) -> Self {
        Measured { redis: cpu.as_secs_f64() * 1e6 / saturated.micros.len() as f64, ..self }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9.0} req/s  {:>9.0} req/CPU-s  {:>6.2} us CPU  p50 {:>6.0}  p99 {:>6.0} (ordinary {:>6.0})  p99.9 {:>6.0} us  paused {:.1} % (host {:.1})",
            self.rps,
            self.rps_per_cpu,
            1e6 / self.rps_per_cpu,
            self.p50,
            self.p99,
            self.ordinary_p99,
            self.p999,
            self.paused * 100.0,
            self.taken * 100.0
        )?;
        if self.redis > 0.0 { write!(f, "  {:>5.2} us of Redis", self.redis) } else { Ok(()) }
    }
}

#[derive(Default)]
pub struct Report {
    rounds: BTreeMap<&'static str, Vec<Measured>>,
    order: Vec<&'static str>,
}

impl Report {
    pub fn add(&mut self, name: &'static str, measured: Measured) {
        if !self.order.contains(&name) {
            self.order.push(name);
        }
        self.rounds.entry(name).or_default().push(measured);
    }

    fn median(&self, name: &str, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.get(name).into_iter().flatten().map(figure).collect())
    }

    /// The median of the ratios within each round: what disturbs a round disturbs both sides of it.
    fn ratio(&self, name: &str) -> f64 {
        let naive = self.rounds.get("naive").into_iter().flatten();
        let own = self.rounds.get(name).into_iter().flatten();
        median(own.zip(naive).map(|(own, naive)| own.rps_per_cpu / naive.rps_per_cpu).collect())
    }

    /// Redis' CPU time a decision against that of a contender which calls a script for each; the median within rounds.
    fn redis_ratio(&self, name: &str, to: &str) -> f64 {
        let other = self.rounds.get(to).into_iter().flatten();
        let own = self.rounds.get(name).into_iter().flatten();
        median(own.zip(other).map(|(own, other)| own.redis / other.redis).collect())
    }

    fn all(&self, name: &str) -> Measured {
        Measured {
            rps: self.median(name, |m| m.rps),
            rps_per_cpu: self.median(name, |m| m.rps_per_cpu),
            p50: self.median(name, |m| m.p50),
            p99: self.median(name, |m| m.p99),
            p999: self.median(name, |m| m.p999),
            ordinary_p99: self.median(name, |m| m.ordinary_p99),
            paused: self.median(name, |m| m.paused),
            taken: self.median(name, |m| m.taken),
            redis: self.median(name, |m| m.redis),
        }
    }

    /// Writes `target/bench/summary.json`.
    pub fn write(&self) -> PathBuf {
        let mut summary = serde_json::Map::new();
        for name in &self.order {
            let median = self.all(name);
            let mut figures: Value = json!({
                "rps": median.rps.round(),
                "rps_per_cpu_s": median.rps_per_cpu.round(),
                "cpu_us": round(1e6 / median.rps_per_cpu, 2),
                "ratio": round(self.ratio(name), 3),
                "p50_us_half_load": median.p50.round(),
                "p99_us_half_load": median.p99.round(),
                "p99_us_half_load_ordinary": median.ordinary_p99.round(),
                "p999_us_half_load": median.p999.round(),
                "load_paused_percent": round(median.paused * 100.0, 2),
                "load_taken_by_host_percent": round(median.taken * 100.0, 2),
                "rounds": self.rounds[name].len(),
            });
            if median.redis > 0.0 {
                figures["redis_cpu_us"] = json!(round(median.redis, 2));
                for baseline in ["redis_empty", "redis_gcra"] {
                    figures[format!("redis_cpu_to_{baseline}")] = json!(round(self.redis_ratio(name, baseline), 3));
                }
            }
            summary.insert((*name).to_owned(), figures);
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
        let folder = target.join("bench");
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("summary.json");
        let text = serde_json::to_string_pretty(&Value::Object(summary)).expect("JSON");
        std::fs::write(&path, text + "\n").expect("the summary is written");
        path
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "medians; latency at half of saturation, from the moment a request was due")?;
        for name in &self.order {
            write!(f, "{name:<28} {}  {:.2} x naive", self.all(name), self.ratio(name))?;
            if self.all(name).redis > 0.0 {
                write!(f, ", Redis {:.2} x a call of GCRA", self.redis_ratio(name, "redis_gcra"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn round(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}
