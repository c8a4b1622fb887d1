// A mock exam without the page: which questions, in which order, the time, the score.
// Nothing here touches the document, the clock or storage. The exam scripts are classic
// ones that share one global, since a page in a folder loads no modules.
"use strict";
globalThis.fewerBitsExam = { logic: (() => {
  const MINUTE = 60000;
  // Said once each, when so many minutes are left.
  const WARNINGS = [[10, "Ten minutes left."], [5, "Five minutes left."], [1, "One minute left."]];

  // Numbers in [0, 1) that follow from a seed: a counter, scattered by multiplications.
  function random(seed) {
    let state = Math.trunc(seed) | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x45d9f3b);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
      return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
    };
  }

  function shuffled(list, next) {
    const left = [...list];
    const out = [];
    while (left.length) out.push(...left.splice(Math.floor(next() * left.length), 1));
    return out;
  }

  function grouped(items, key) {
    const groups = new Map();
    for (const item of items) groups.set(item[key], [...(groups.get(item[key]) ?? []), item]);
    return groups;
  }

  // How many questions each domain gets: its share of `count`, rounded so that the sum
  // is right (largest remainder). A domain with fewer questions gives the rest away.
  function seats(domains, room, count) {
    const open = domains.filter((d) => d.share > 0 && room(d.name) > 0);
    const total = open.reduce((sum, d) => sum + d.share, 0);
    const quota = (d) => (count * d.share) / total;
    const given = new Map(open.map((d) => [d.name, Math.min(Math.floor(quota(d)), room(d.name))]));
    const most = Math.min(count, open.reduce((sum, d) => sum + room(d.name), 0));
    for (let left = most - [...given.values()].reduce((a, b) => a + b, 0); left > 0; left -= 1) {
      const lacks = (d) => quota(d) - given.get(d.name);
      const spare = open.filter((d) => given.get(d.name) < room(d.name));
      const next = spare.reduce((best, d) => (lacks(d) > lacks(best) ? d : best));
      given.set(next.name, given.get(next.name) + 1);
    }
    return given;
  }

  // Questions of one domain: every chapter gives one before any gives the next.
  function spread(items, count, next) {
    const chapters = shuffled(grouped(items, "chapter").values(), next);
    const piles = chapters.map((pile) => shuffled(pile, next));
    const drawn = [];
    while (drawn.length < count) {
      for (const pile of piles) if (pile.length && drawn.length < count) drawn.push(pile.pop());
    }
    return drawn;
  }

  const instances = (item) => 1 + (item.instances?.length ?? 0);

  // A question as asked: an instance has its own text, numbers and choices.
  const asked = (item, instance = 0) => (instance ? { ...item, ...item.instances[instance - 1] } : item);

  // Draw a form: weighted by domain; instance and order of choices follow from the seed.
  function draw(bank, count, seed) {
    const next = random(seed);
    const pools = grouped(bank.items, "domain");
    const given = seats(bank.domains, (name) => pools.get(name)?.length ?? 0, count);
    const drawn = [...given].flatMap(([name, own]) => spread(pools.get(name), own, next));
    return shuffled(drawn, next).map((item) => {
      const instance = Math.floor(next() * instances(item));
      return { id: item.id, instance, order: shuffled(asked(item, instance).choices.keys(), next) };
    });
  }

  // The longest form takes the time of the real exam, a shorter one its part of it.
  const minutesFor = (exam, count, pace = 1) => Math.round((count * exam.minutes * pace) / exam.questions[0]);

  function begin(bank, { count, seed, pace }, now) {
    const form = draw(bank, count, seed);
    const minutes = minutesFor(bank.exam, form.length, pace);
    const ends = now + minutes * MINUTE;
    return { version: 1, seed, form, answers: {}, flags: [], at: 0, minutes, started: now, ends, finished: null };
  }

  const timeLeft = (exam, now) => Math.max(0, exam.ends - now);

  function clock(milliseconds) {
    const seconds = Math.ceil(milliseconds / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  // What to say when the time left falls from one value to another.
  function warning(before, after) {
    const due = WARNINGS.filter(([m]) => before > m * MINUTE && after <= m * MINUTE);
    return after > 0 && due.length ? due.at(-1)[1] : "";
  }

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  function validAnswer(item, answer) {
    if (answer === undefined) return true;
    if (item.kind === "numeric") return typeof answer === "string";
    return Array.isArray(answer) && answer.length === item.choices.length
      && answer.every((a) => typeof a === "boolean");
  }

  // A saved exam is used only if every part of it still fits the questions.
  function validExam(exam, items) {
    if (!isObject(exam) || exam.version !== 1 || !Array.isArray(exam.form) || !exam.form.length) return false;
    const known = new Map(items.map((item) => [item.id, item]));
    const fits = (entry) => isObject(entry) && known.has(entry.id) && Array.isArray(entry.order)
      && Number.isInteger(entry.instance) && entry.instance >= 0
      && entry.instance < instances(known.get(entry.id))
      && [...entry.order].sort((a, b) => a - b).join() === [...known.get(entry.id).choices.keys()].join();
    return exam.form.every(fits) && isObject(exam.answers) && Array.isArray(exam.flags)
      && [exam.seed, exam.minutes, exam.started, exam.ends].every(Number.isFinite)
      && Number.isInteger(exam.at) && exam.at >= 0 && exam.at < exam.form.length
      && (exam.finished === null || Number.isFinite(exam.finished))
      && exam.form.every(({ id }) => validAnswer(known.get(id), exam.answers[id]));
  }

  // An answer is one true or false per choice, or the text typed for a number.
  function answered(item, answer, readNumber) {
    if (answer === undefined) return false;
    return item.kind === "numeric" ? readNumber(answer) !== null : answer.includes(true);
  }

  function tally(results, key) {
    return [...grouped(results.map((r) => ({ ...r, [key]: r.item[key] })), key)]
      .map(([name, own]) => ({ name, right: own.filter((r) => r.right).length, of: own.length }));
  }

  // The result of every question. `judge` and `readNumber` are the quiz's own.
  function score(exam, bank, { judge, readNumber }) {
    const known = new Map(bank.items.map((item) => [item.id, item]));
    const results = exam.form.map(({ id, instance }) => {
      const item = asked(known.get(id), instance);
      const given = answered(item, exam.answers[id], readNumber);
      const answer = given && item.kind === "numeric" ? readNumber(exam.answers[id]) : exam.answers[id];
      return { item, given, answer, right: given && judge(item, answer, 1).right };
    });
    const right = results.filter((r) => r.right).length;
    return { results, domains: tally(results, "domain"), right, of: results.length };
  }

  return Object.freeze({
    random, shuffled, seats, draw, asked, instances, minutesFor, begin, timeLeft, clock,
    warning, isObject, validExam, answered, score,
  });
})() };
