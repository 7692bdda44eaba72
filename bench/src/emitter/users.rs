//! Emits to single users.

use super::{Batch, Sent, Source, Wrapping};
use crate::{
    random::Random,
    template::{Template, Values},
};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// One after the other.
    RoundRobin,
    /// Drawn from a seed.
    Random,
}

/// Which emits.
#[derive(Clone, Debug)]
pub struct UserPlan {
    /// How many users there are, a client each.
    pub users: usize,
    /// Whose turn it is.
    pub order: Order,
    /// The same seed gives the same order.
    pub seed: u64,
    /// One emit.
    pub item: Template,
    /// What makes a body of several.
    pub wrapping: Wrapping,
    /// Emits in a body.
    pub batch: u64,
}

/// Emits to one user after another.
#[derive(Clone, Debug)]
pub struct Users {
    plan: UserPlan,
    random: Random,
    /// Number of the next emit, over all users.
    sequence: u64,
    /// What was emitted to each user.
    sent: Vec<Sent>,
}

impl Users {
    /// Emits as planned.
    pub fn new(plan: UserPlan) -> Self {
        Self {
            random: Random::new(plan.seed),
            sequence: 0,
            sent: vec![Sent::default(); plan.users],
            plan,
        }
    }

    /// What was emitted to each user, in the order of their numbers.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    fn emit(&mut self, due: u64, body: &mut String) {
        let users = self.sent.len() as u64;
        let user = match self.plan.order {
            Order::RoundRobin => self.sequence % users,
            Order::Random => self.random.below(users),
        } as usize;
        let values = Values {
            sequence: self.sequence,
            now: due,
            user,
            ..Values::default()
        };
        self.plan.item.render(values, body);
        self.sent[user].note(self.sequence);
        self.sequence += 1;
    }
}

impl Source for Users {
    fn next(&mut self, due: u64, body: &mut String) -> Batch {
        let wrapping = self.plan.wrapping.clone();
        wrapping.fill(self.plan.batch, body, |body| self.emit(due, body));
        Batch {
            items: self.plan.batch,
            deliveries: self.plan.batch,
        }
    }

    fn batch(&self) -> u64 {
        self.plan.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(order: Order, count: u64) -> (Users, String) {
        let mut users = Users::new(UserPlan {
            users: 3,
            order,
            seed: 1,
            item: Template::parse("u{user}:{seq}"),
            wrapping: Wrapping {
                separator: "\n".into(),
                close: "\n".into(),
                ..Wrapping::default()
            },
            batch: count,
        });
        let mut body = String::new();
        users.next(0, &mut body);
        (users, body)
    }

    #[test]
    fn users_take_turns() {
        let (users, body) = emitted(Order::RoundRobin, 4);
        assert_eq!(body, "u0:0\nu1:1\nu2:2\nu0:3\n");
        let counts: Vec<u64> = users.sent().iter().map(|sent| sent.count).collect();
        assert_eq!(counts, [2, 1, 1]);
        assert_ne!(users.sent()[1].digest, users.sent()[2].digest);
    }

    #[test]
    fn random_users_have_about_the_same() {
        let (users, _) = emitted(Order::Random, 3_000);
        let fair = |sent: &Sent| (900..1100).contains(&sent.count);
        assert!(users.sent().iter().all(fair), "{:?}", users.sent());
    }
}
