//! Budget periods: durations as LiteLLM writes them, aligned to the calendar of a time zone, so that a period is part
//! of a counter's name and no reset job exists.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Unit, ZonedDateTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Timestamp;

/// How long a budget lasts or a key lives: `30s`, `5m`, `12h`, `1d`, `2w`, `1mo`, or `hourly`, `daily`, `weekly`,
/// `monthly`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BudgetDuration {
    count: u32,
    unit: DurationUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum DurationUnit {
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
}

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a whole number and one of s, m, h, d, w, mo, as in 30d")]
pub struct NotADuration(String);

impl FromStr for BudgetDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        use DurationUnit::{Days, Hours, Minutes, Months, Seconds, Weeks};
        let (count, unit) = match text {
            "hourly" => (1, Hours),
            "daily" => (1, Days),
            "weekly" => (7, Days),
            "monthly" => (30, Days),
            text => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let count = text[..digits].parse().map_err(|_| NotADuration(text.to_owned()))?;
                let unit = match &text[digits..] {
                    "s" => Seconds,
                    "m" => Minutes,
                    "h" => Hours,
                    "d" => Days,
                    "w" => Weeks,
                    "mo" => Months,
                    _ => return Err(NotADuration(text.to_owned())),
                };
                (count, unit)
            }
        };
        // A hundred years bounds all arithmetic below.
        let duration = BudgetDuration { count, unit };
        let reasonable = count > 0 && duration.rough_seconds() <= 100 * 366 * 86_400;
        reasonable.then_some(duration).ok_or_else(|| NotADuration(text.to_owned()))
    }
}

impl BudgetDuration {
    #[must_use]
    pub const fn seconds(count: u32) -> Self {
        BudgetDuration { count, unit: DurationUnit::Seconds }
    }

    /// Its length; a month counts 30 days.
    #[must_use]
    pub fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.rough_seconds().unsigned_abs())
    }

    fn rough_seconds(self) -> i64 {
        let unit = match self.unit {
            DurationUnit::Seconds => 1,
            DurationUnit::Minutes => 60,
            DurationUnit::Hours => 3_600,
            DurationUnit::Days => 86_400,
            DurationUnit::Weeks => 7 * 86_400,
            DurationUnit::Months => 30 * 86_400,
        };
        i64::from(self.count).saturating_mul(unit)
    }

    /// The moment this long after `start`, to the second; months are calendar months. For key expiry.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        if self.unit == DurationUnit::Months {
            let zoned = start.to_jiff().to_zoned_datetime(TimeZone::UTC);
            let later = Span::new().try_months(self.count).ok().and_then(|span| zoned.checked_add(span).ok());
            return later.map_or(Timestamp::millis(i64::MAX), |at| Timestamp::millis(at.timestamp().as_millisecond()));
        }
        start.plus_millis(self.rough_seconds() * 1_000)
    }
}

impl fmt::Display for BudgetDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            DurationUnit::Seconds => "s",
            DurationUnit::Minutes => "m",
            DurationUnit::Hours => "h",
            DurationUnit::Days => "d",
            DurationUnit::Weeks => "w",
            DurationUnit::Months => "mo",
        };
        write!(f, "{}{unit}", self.count)
    }
}

impl fmt::Debug for BudgetDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BudgetDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BudgetDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for BudgetDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "a whole number and one of s, m, h, d, w, mo"})
    }
}

/// One budget period: from `start` (inclusive) to `end` (exclusive). Its `id` is part of the counter's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    pub id: Arc<str>,
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Period {
    /// The period that never ends: all an entity ever spent. Its id is `total`.
    #[must_use]
    pub fn total() -> Self {
        static TOTAL: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "total".into());
        Period { id: TOTAL.clone(), start: Timestamp::millis(0), end: Timestamp::millis(i64::MAX) }
    }

    #[must_use]
    pub fn is_total(&self) -> bool {
        self.end == Timestamp::millis(i64::MAX)
    }

    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// Where days begin: a time zone and a time of day (`litellm_settings.timezone`, `budget_reset_time`).
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    reset: Time,
}

impl Default for Calendar {
    fn default() -> Self {
        Calendar { zone: TimeZone::UTC, reset: Time::midnight() }
    }
}

impl Calendar {
    /// `zone` is an IANA name (`Europe/Berlin`), `reset` a time of day as `HH:MM`.
    pub fn new(zone: &str, reset: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|_| format!("{zone:?} is not a time zone of the IANA database"))?;
        let reset = Time::strptime("%H:%M", reset).map_err(|_| format!("{reset:?} is not a time of day as HH:MM"))?;
        Ok(Calendar { zone, reset })
    }

    /// The period of `duration` that holds `at`. `1d` begins at the reset time of day, `7d` and `1w` on a Monday, `30d`
    /// and `1mo` on the first of a month; hours and minutes count from the start of the day, `24h` being a day; all
    /// other durations are blocks counted from Monday 1970-01-05.
    #[must_use]
    pub fn period(&self, duration: BudgetDuration, at: Timestamp) -> Period {
        let (start, end) = self.bounds(duration, at).unwrap_or((Timestamp::millis(0), Timestamp::millis(i64::MAX - 1)));
        Period { id: format!("{duration}@{}", start.as_millis() / 1_000).into(), start, end }
    }

    fn bounds(&self, duration: BudgetDuration, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let today = self.day_of(at)?;
        let count = i64::from(duration.count);
        match duration.unit {
            DurationUnit::Seconds | DurationUnit::Minutes | DurationUnit::Hours => {
                let length = duration.rough_seconds() * 1_000;
                if length % 86_400_000 == 0 {
                    return self.days(today, length / 86_400_000);
                }
                if length >= 86_400_000 {
                    let start = at.as_millis().div_euclid(length) * length;
                    return Some((Timestamp::millis(start), Timestamp::millis(start + length)));
                }
                let (day, next) = (self.begin(today)?, self.begin(today.tomorrow().ok()?)?);
                let start = day.plus_millis((at.as_millis() - day.as_millis()).div_euclid(length) * length);
                Some((start, start.plus_millis(length).min(next)))
            }
            DurationUnit::Days if count == 30 => self.months(today, 1),
            DurationUnit::Months => self.months(today, count),
            DurationUnit::Days => self.days(today, count),
            DurationUnit::Weeks => self.days(today, count * 7),
        }
    }

    fn days(&self, today: Date, count: i64) -> Option<(Timestamp, Timestamp)> {
        const MONDAY: Date = Date::constant(1970, 1, 5);
        let since = i64::from(MONDAY.until((Unit::Day, today)).ok()?.get_days());
        let start = MONDAY.checked_add(Span::new().try_days(since.div_euclid(count) * count).ok()?).ok()?;
        let end = start.checked_add(Span::new().try_days(count).ok()?).ok()?;
        Some((self.begin(start)?, self.begin(end)?))
    }

    fn months(&self, today: Date, count: i64) -> Option<(Timestamp, Timestamp)> {
        let month = i64::from(today.year()) * 12 + i64::from(today.month()) - 1;
        let first = month.div_euclid(count) * count;
        let date =
            |month: i64| Date::new(month.div_euclid(12).try_into().ok()?, (month.rem_euclid(12) + 1) as i8, 1).ok();
        Some((self.begin(date(first)?)?, self.begin(date(first + count)?)?))
    }

    /// The budget day that holds `at`: before the reset time it is still yesterday.
    fn day_of(&self, at: Timestamp) -> Option<Date> {
        let zoned: ZonedDateTime = at.to_jiff().to_zoned_datetime(self.zone.clone());
        let date = zoned.date();
        if at < self.begin(date)? { date.yesterday().ok() } else { Some(date) }
    }

    fn begin(&self, date: Date) -> Option<Timestamp> {
        let zoned = date.to_datetime(self.reset).to_zoned_datetime(self.zone.clone()).ok()?;
        Some(Timestamp::millis(zoned.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn periods_are_aligned_to_the_calendar() {
        for (zone, reset, duration, now, start, end) in [
            ("UTC", "00:00", "1d", "2026-11-24T13:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
            ("UTC", "06:00", "1d", "2026-11-24T05:59:59Z", "2026-11-23T06:00:00Z", "2026-11-24T06:00:00Z"),
            ("UTC", "00:00", "7d", "2026-11-24T13:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("UTC", "00:00", "1w", "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("UTC", "00:00", "30d", "2026-11-24T13:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("UTC", "00:00", "1mo", "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("UTC", "00:00", "5h", "2026-11-24T23:00:00Z", "2026-11-24T20:00:00Z", "2026-11-25T00:00:00Z"),
            ("UTC", "00:00", "15m", "2026-11-24T13:14:59Z", "2026-11-24T13:00:00Z", "2026-11-24T13:15:00Z"),
            ("Europe/Berlin", "00:00", "1d", "2026-11-24T23:30:00Z", "2026-11-24T23:00:00Z", "2026-11-25T23:00:00Z"),
            ("America/New_York", "00:00", "1d", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
            (
                "America/New_York",
                "06:00",
                "24h",
                "2026-11-01T12:00:00Z",
                "2026-11-01T11:00:00Z",
                "2026-11-02T11:00:00Z",
            ),
            ("UTC", "00:00", "48h", "2026-11-24T13:00:00Z", "2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z"),
        ] {
            let period = Calendar::new(zone, reset).unwrap().period(duration.parse().unwrap(), at(now));
            assert_eq!((period.start, period.end), (at(start), at(end)), "{duration} at {now} in {zone}");
        }
    }

    #[test]
    fn durations_are_read_as_litellm_writes_them() {
        for (text, shown) in [("30s", "30s"), ("1mo", "1mo"), ("daily", "1d"), ("weekly", "7d"), ("monthly", "30d")] {
            assert_eq!(text.parse::<BudgetDuration>().unwrap().to_string(), shown);
        }
        for text in ["", "d", "0d", "-1d", "1.5h", "3 d", "10y", "99999999999d", "4000000000w"] {
            assert!(text.parse::<BudgetDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_period_holds_the_moment_it_was_asked_for_and_all_its_moments_agree(
            millis in 0i64..4_000_000_000_000,
            count in 1u32..400,
            unit in prop::sample::select(vec!["s", "m", "h", "d", "w", "mo"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
        ) {
            let calendar = Calendar::new(zone, "02:30").unwrap();
            let duration: BudgetDuration = format!("{count}{unit}").parse().unwrap();
            let now = Timestamp::millis(millis);
            let period = calendar.period(duration, now);
            prop_assert!(period.contains(now), "{period:?} at {now}");
            prop_assert_eq!(&calendar.period(duration, period.start), &period);
            prop_assert_eq!(&calendar.period(duration, period.end.plus_millis(-1)), &period);
        }
    }
}
