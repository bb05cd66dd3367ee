"""What people say that is no puzzle this model can solve, and what it answers."""

from __future__ import annotations

import random
import string

from ledlocal.evals.puzzle import COUNTS, NUMBERS, TARGETS
from ledlocal.evals.wording import word

EXAMPLE = "Use 3, 7 and 12 to make 33."
_GREETINGS = (
    "Hello", "Hi", "Hey", "Hello there", "Hi there", "Hey there", "Good morning", "Good evening", "Good afternoon",
    "Greetings", "Howdy", "Yo", "Hello!", "Hi!", "Hey!", "Hello, how are you?", "How are you?", "How are you doing?",
    "What's up?", "Nice to meet you", "Hi, how is it going?", "Good day",
)
_ABOUT = (
    "Who are you?", "What are you?", "What can you do?", "What do you do?", "Help", "help", "Help me",
    "How does this work?", "Can you help me?", "What is your name?", "Are you an AI?", "Which model are you?",
    "Tell me about yourself.", "What should I ask?", "What now?", "Are you a robot?", "What is this?",
    "How do I use you?", "Give me an example", "Give me a puzzle", "Give me a number puzzle", "I want to play",
    "Let's play", "test", "Test", "?", "hm", "ok", "Ok", "Yes", "No",
)
_THANKS = (
    "Thanks", "Thank you", "Thanks!", "Thank you!", "Thank you very much", "Great", "Great!", "Well done", "Nice",
    "Nice!", "Cool", "Wow", "Good job", "Perfect", "Awesome", "Very good", "Correct!", "That is right", "Brilliant",
)
_FAREWELLS = (
    "Bye", "Goodbye", "See you", "See you later", "Good night", "Bye bye", "I have to go", "That's all", "quit",
    "exit",
)
_PLACES = (
    "France", "Germany", "Japan", "Brazil", "Canada", "Italy", "Spain", "Egypt", "Kenya", "India", "China", "Norway",
    "Peru", "Texas", "Paris", "London", "Rome", "the", "world",
)
_THINGS = (
    "capital", "weather", "history", "population", "language", "flag", "king", "president", "river", "mountain",
    "food", "music", "time", "money", "color", "size", "price", "meaning", "origin", "author", "colour", "currency",
    "best city",
)
_TOPICS = (
    "love", "autumn", "the sea", "a cat", "dogs", "the moon", "quantum physics", "history", "democracy", "a robot",
    "trees", "music", "chess", "Python", "JavaScript", "black holes", "dinosaurs", "cooking", "football", "a dragon",
    "winter", "my boss", "the stars", "gravity", "evolution", "llamas", "rain", "a wedding", "climate change",
    "the economy",
)
_FORMS = (
    "poem", "story", "joke", "song", "haiku", "letter", "summary", "program", "function", "recipe", "list", "speech",
    "tweet", "essay", "script", "limerick", "mail", "review",
)
_QUESTIONS = (
    "What is the {thing} of {place}?", "Tell me the {thing} of {place}.", "Write a {form} about {topic}.",
    "Write me a {form} about {topic}", "Tell me a {form} about {topic}.", "Tell me a {form}", "Explain {topic}.",
    "Explain {topic} to a child", "Why is {topic} important?", "What do you think about {topic}?",
    "How does {topic} work?", "Who invented {topic}?", "Where is {place}?", "Do you like {topic}?",
    "Do you like {place}?", "What is {topic}?", "Is {place} bigger than {other}?",
    "Translate '{topic}' into the language of {place}", "How far is it to {place}?", "Give me a {form} for {topic}",
    "I need a {form} about {topic} and {other}", "What is the best {form} about {topic}?",
    "Should I go to {place} or {other}?", "Who is the {thing} of {place}?", "When was {topic} discovered?",
    "Are there {topic} in {place}?", "Can you write a {form}?", "Can you explain {topic}?", "Why?", "How?", "What?",
    "Really?", "What is {a} + {b}?", "What is {a} times {b}?", "What is {a} * {b}?", "{a} + {b}", "{a} * {b} = ?",
    "Is {a} prime?", "{a}", "{a} {b}", "Calculate {a} divided by {b}", "What is the square root of {a}?",
    "Count to {a}", "How many {thing}s has {place}?", "In {a} {place} won. Who was it?", "I am {a} years old.",
    "Solve x + {a} = {b}", "If a train goes {a} miles in {b} hours, how fast is it?", "Sort {a}, {b}",
    "{word} {topic} {word2}", "{word}", "{word} {word2}?", "{word} {word2} {word3}", "Is it {word}?",
)
_NOT_A_PUZZLE = "This is not a puzzle."
_OUT_OF_RANGE = "This is not a puzzle for me."
_ONLY = f"I only solve number puzzles. Try: {EXAMPLE}"
_ANSWERS = {
    _GREETINGS: f"Hello! I solve number puzzles. Try: {EXAMPLE}",
    _ABOUT: f"I am a tiny model that solves number puzzles. Try: {EXAMPLE}",
    _THANKS: "You are welcome! Give me another puzzle.",
    _FAREWELLS: "Goodbye!",
}
LIMITS = (f"I take {COUNTS[0]} to {COUNTS[-1]} numbers from {NUMBERS[0]} to {NUMBERS[-1]} "
          f"and targets from {TARGETS[0]} to {TARGETS[-1]}. Try: {EXAMPLE}")


def remark(rng: random.Random) -> tuple[str, str, str]:
    """(message, thought, answer) of something that is no puzzle, or one outside of what the model knows."""
    kind = rng.random()
    if kind < 0.35:
        group = rng.choice(tuple(_ANSWERS))
        return _as_typed(rng.choice(group), rng), _NOT_A_PUZZLE, _ANSWERS[group]
    if kind < 0.55:
        return word(*_too_much(rng), rng), _OUT_OF_RANGE, LIMITS
    return _as_typed(_question(rng), rng), _NOT_A_PUZZLE, _ONLY


def _question(rng: random.Random) -> str:
    return rng.choice(_QUESTIONS).format(
        thing=rng.choice(_THINGS), place=rng.choice(_PLACES), other=rng.choice(_PLACES), topic=rng.choice(_TOPICS),
        form=rng.choice(_FORMS), a=rng.randint(0, 2000), b=rng.randint(1, 300),
        word=_word(rng), word2=_word(rng), word3=_word(rng))


def _word(rng: random.Random) -> str:
    """Letters that look like a word of some language: what a user types cannot be listed."""
    return "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") + rng.choice(("", "", *"nrstl"))
                   for _ in range(rng.randint(1, 4)))


def _too_much(rng: random.Random) -> tuple[list[int], int]:
    """Numbers and target of a puzzle with one thing outside the limits."""
    numbers = [rng.choice(NUMBERS) for _ in range(rng.choice(COUNTS))]
    target = rng.choice(TARGETS)
    match rng.randrange(3):
        case 0:
            numbers[rng.randrange(len(numbers))] = rng.choice((25, 50, 75, 100, rng.randint(NUMBERS[-1] + 1, 999)))
        case 1:
            target = rng.choice((rng.randint(1, TARGETS[0] - 1), rng.randint(TARGETS[-1] + 1, 999)))
        case _:
            numbers += [rng.choice(NUMBERS) for _ in range(COUNTS[-1] + 1 - len(numbers) + rng.randrange(2))]
    return numbers, target


def _as_typed(text: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.2:
        return text.lower()
    if kind < 0.3:
        return text.rstrip(".?!") or text
    if kind < 0.32:
        return text.upper()
    return text + rng.choice(("", "", "", " ", "!", "?", "...")) * (text[-1] in string.ascii_letters)
