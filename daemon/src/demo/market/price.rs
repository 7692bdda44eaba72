//! What is quoted, and the price of it at any time.
//!
//! A price is its base times the exponential of several layers of seeded noise, slow layers wide
//! and fast ones narrow. That looks like a random walk, is never negative, and needs no history.

/// Parts of one currency unit in an amount: four decimals, as currency pairs are quoted.
pub(super) const UNIT: i64 = 10_000;

/// Something that can be quoted and, unless it is an index, bought.
#[derive(Debug)]
pub(super) struct Instrument {
    /// The name it is watched by; a legal watchlist symbol.
    pub(super) symbol: &'static str,
    /// The price that the noise plays around.
    base: f64,
    /// How wide the price swings, 1 being an ordinary share.
    volatility: f64,
    /// Digits of the price after the point.
    decimals: u32,
    /// Units that change hands in a whole day.
    daily_volume: f64,
    /// Orders are multiples of this; 0 for an index, which cannot be bought.
    pub(super) lot: i64,
}

/// (period in milliseconds, share of the swing): the layers of noise, slowest first.
const LAYERS: [(u64, f64); 6] = [
    (5 * 24 * 3_600_000, 0.060),
    (8 * 3_600_000, 0.020),
    (3_600_000, 0.008),
    (10 * 60_000, 0.004),
    (90_000, 0.002),
    (15_000, 0.001),
];

/// Share of the swing that is new at every step.
const STEP_SHARE: f64 = 0.000_4;

/// The source of every price.
#[derive(Debug)]
pub(super) struct Tape {
    seed: u64,
}

impl Tape {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The number of the price's last change: instruments change at their own pace, one to two
    /// times a second.
    pub(super) fn step(&self, instrument: &Instrument, at_ms: u64) -> u64 {
        at_ms / self.pace(instrument)
    }

    /// The price at a time, in parts of [`UNIT`], rounded to the decimals of the instrument.
    pub(super) fn price(&self, instrument: &Instrument, at_ms: u64) -> i64 {
        let name = self.name(instrument);
        let step = self.step(instrument, at_ms);
        let at_ms = step * self.pace(instrument);
        let slow: f64 = LAYERS
            .iter()
            .map(|&(period, share)| share * wave(name, period, at_ms))
            .sum();
        let swing = slow + STEP_SHARE * signed(mix(name ^ mix(step)));
        let price = instrument.base * (instrument.volatility * swing).exp();

        let scale = f64::from(10_u32.pow(instrument.decimals));
        let grain = UNIT / 10_i64.pow(instrument.decimals);
        (((price * scale).round() as i64) * grain).max(grain)
    }

    /// Units traded since midnight UTC; never falls within a day.
    pub(super) fn volume(&self, instrument: &Instrument, at_ms: u64) -> u64 {
        let pace = self.pace(instrument);
        let into_day = (at_ms % super::DAY_MS) / pace * pace;
        let share = into_day as f64 / super::DAY_MS as f64;
        // Busier at both ends of the day: the slope stays above zero for every share.
        let bent = share + 0.08 * (share * std::f64::consts::TAU * 2.0).sin() / 2.0;
        (instrument.daily_volume * bent) as u64
    }

    /// Milliseconds between two changes of the price.
    fn pace(&self, instrument: &Instrument) -> u64 {
        500 + self.name(instrument) % 500
    }

    fn name(&self, instrument: &Instrument) -> u64 {
        hash(self.seed, instrument.symbol)
    }
}

/// Smooth noise in -1..1 with a new free value every `period`.
fn wave(name: u64, period: u64, at_ms: u64) -> f64 {
    let knot = at_ms / period;
    let value = |knot: u64| signed(mix(name ^ mix(period ^ mix(knot))));
    let share = (at_ms % period) as f64 / period as f64;
    let eased = share * share * (3.0 - 2.0 * share);
    value(knot) * (1.0 - eased) + value(knot + 1) * eased
}

/// A seeded hash of a name; not for secrets.
pub(super) fn hash(seed: u64, name: &str) -> u64 {
    name.bytes()
        .fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit in moves every bit out.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The hash as a number in 0..1.
pub(super) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

fn signed(hash: u64) -> f64 {
    unit(hash) * 2.0 - 1.0
}

const fn share(symbol: &'static str, base: f64, volatility: f64, daily_volume: f64) -> Instrument {
    Instrument {
        symbol,
        base,
        volatility,
        decimals: 2,
        daily_volume,
        lot: 1,
    }
}

const fn index(symbol: &'static str, base: f64, daily_volume: f64) -> Instrument {
    Instrument {
        symbol,
        base,
        volatility: 0.5,
        decimals: 2,
        daily_volume,
        lot: 0,
    }
}

const fn currency(symbol: &'static str, base: f64, daily_volume: f64) -> Instrument {
    Instrument {
        symbol,
        base,
        volatility: 0.25,
        decimals: 4,
        daily_volume,
        lot: 500,
    }
}

/// Everything that is quoted. Names are real so that they read well; prices are invented.
pub(super) const INSTRUMENTS: [Instrument; 24] = [
    share("AAPL", 228.0, 1.0, 52e6),
    share("MSFT", 430.0, 0.9, 21e6),
    share("NVDA", 138.0, 1.8, 240e6),
    share("GOOGL", 176.0, 1.1, 26e6),
    share("AMZN", 202.0, 1.2, 41e6),
    share("META", 560.0, 1.3, 14e6),
    share("TSLA", 312.0, 2.2, 95e6),
    share("NFLX", 790.0, 1.4, 4e6),
    share("AMD", 142.0, 1.7, 38e6),
    share("INTC", 24.0, 1.6, 60e6),
    share("JPM", 236.0, 0.8, 9e6),
    share("V", 308.0, 0.7, 6e6),
    share("KO", 63.5, 0.5, 14e6),
    share("DIS", 101.0, 1.0, 11e6),
    share("BRK-B", 462.0, 0.6, 4e6),
    share("ASML.AS", 655.0, 1.3, 1e6),
    index("^GSPC", 5_900.0, 3.9e9),
    index("^IXIC", 18_900.0, 6.8e9),
    index("^DJI", 43_700.0, 0.4e9),
    Instrument {
        symbol: "BTC-USD",
        base: 91_000.0,
        volatility: 2.4,
        decimals: 2,
        daily_volume: 41e3,
        lot: 1,
    },
    Instrument {
        symbol: "ETH-USD",
        base: 3_150.0,
        volatility: 2.6,
        decimals: 2,
        daily_volume: 620e3,
        lot: 1,
    },
    currency("EURUSD=X", 1.0560, 1.2e9),
    currency("GBPUSD=X", 1.2650, 0.6e9),
    Instrument {
        symbol: "GC=F",
        base: 2_610.0,
        volatility: 0.6,
        decimals: 2,
        daily_volume: 190e3,
        lot: 1,
    },
];
