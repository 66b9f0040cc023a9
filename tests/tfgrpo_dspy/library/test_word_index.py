"""Texts found by words, in any script."""
# ruff: noqa: RUF001 - Chinese and Japanese have commas and question marks of their own

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.library.word_index import WordIndex, largest, words_of

pytest.importorskip("bm25s")

ADVICE = {
    "English": [
        "When two discounts follow each other, multiply the shares.",
        "When trains meet, add their speeds.",
        "When a garden is fenced, count the posts.",
        "When interest compounds, work year by year.",
    ],
    "Chinese": [
        "遇到连续打折时，把剩余的比例相乘。",
        "两列火车相向而行时，把速度相加。",
        "给花园围栅栏时，数清楚柱子的数量。",
        "复利问题要一年一年地计算。",
    ],
    "Japanese": [
        "割引が続くときは、残りの割合を掛け合わせる。",
        "列車がすれ違うときは、速さを足す。",
        "庭に柵を立てるときは、柱の数を数える。",
        "複利は一年ずつ計算する。",
    ],
    "Thai": [
        "เมื่อมีส่วนลดซ้อนกัน ให้คูณสัดส่วนที่เหลือ",
        "เมื่อรถไฟวิ่งสวนทางกัน ให้บวกความเร็ว",
        "เมื่อล้อมรั้วสวน ให้นับจำนวนเสา",
        "ดอกเบี้ยทบต้นให้คำนวณทีละปี",
    ],
    "Korean": [
        "할인이 이어지면 남은 비율을 곱한다.",
        "기차가 마주 보고 달리면 속도를 더한다.",
        "정원에 울타리를 칠 때는 기둥 수를 센다.",
        "복리는 해마다 계산한다.",
    ],
    "Hindi": [
        "लगातार छूट हो तो बची हुई दरों को गुणा करें।",
        "रेलगाड़ियाँ मिलती हों तो गतियाँ जोड़ें।",
        "बगीचे की बाड़ में खंभे गिनें।",
        "चक्रवृद्धि ब्याज साल दर साल निकालें।",
    ],
}
"""The same four experiences; the tasks below are one for each."""
TASKS = {
    "English": [
        "A coat is discounted twice. What does it cost?",
        "Two trains leave at nine with speeds of 80 and 90. When do they meet?",
        "How many posts does the fence of a garden take?",
        "What is 1000 worth after three years of compounded interest?",
    ],
    "Chinese": [
        "一件外套先后打了两次折扣，最后卖多少钱？",
        "火车九点出发，速度是每小时八十公里，多久相遇？",
        "花园的四周要装栅栏，需要几根柱子？",
        "本金一千元，每年复利百分之五，三年后是多少？",
    ],
    "Japanese": [
        "コートが二回割引された。値段はいくらですか。",
        "列車は九時に出発し、速さは時速八十キロです。",
        "庭を囲む柵には柱が何本いりますか。",
        "元金千円を年五分の複利で三年預けるといくらですか。",
    ],
    "Thai": [
        "เสื้อโค้ตได้รับส่วนลดสองครั้ง ราคาสุดท้ายเท่าไร",
        "รถไฟออกเวลาเก้าโมงด้วยความเร็วแปดสิบกิโลเมตรต่อชั่วโมง",
        "รั้วรอบสวนต้องใช้เสากี่ต้น",
        "เงินต้นหนึ่งพันบาท ดอกเบี้ยทบต้นร้อยละห้า สามปีเป็นเท่าไร",
    ],
    "Korean": [
        "코트가 두 번 할인되었다. 가격은 얼마인가?",
        "기차는 아홉 시에 시속 팔십 킬로미터의 속도로 출발한다.",
        "정원 울타리에는 기둥이 몇 개 필요한가?",
        "원금 천 원을 연 5% 복리로 삼 년 맡기면?",
    ],
    "Hindi": [
        "कोट पर दो बार छूट मिली, दाम क्या है?",
        "रेलगाड़ियाँ नौ बजे चलती हैं, कब मिलती हैं?",
        "बगीचे की बाड़ के लिए कितने खंभे चाहिए?",
        "तीन साल का चक्रवृद्धि ब्याज कितना?",
    ],
}


def positions(found):
    return [match.position for match in found]


@pytest.mark.parametrize("language", ADVICE)
def test_the_experience_that_fits_a_task_comes_first(language):
    index = WordIndex(ADVICE[language])
    assert [positions(index.best(task, 4))[:1] for task in TASKS[language]] == [[0], [1], [2], [3]]


@pytest.mark.parametrize("language", ADVICE)
def test_the_experience_that_fits_comes_first_among_those_of_all_languages(language):
    texts = [text for advice in ADVICE.values() for text in advice]
    index = WordIndex(texts)
    assert [texts[index.best(task, 4)[0].position] for task in TASKS[language]] == ADVICE[language]


def test_words_are_compared_without_case_endings_and_width():
    assert list(words_of("The DISCOUNTED ＡＢＣ of snake_case")) == ["discount", "abc", "snak", "cas"]
    assert list(words_of("and of the")) == []


def test_rare_words_count_most_and_equals_come_in_order():
    index = WordIndex(["red hat", "blue hat", "green hat", "red hat"])
    assert positions(index.best("a blue hat", 2)) == [1, 0]
    assert positions(index.best("hats", 3)) == [0, 1, 2]


@pytest.mark.parametrize("texts", [[], [""], ["?!", "the"], ["red hat"]])
def test_what_shares_no_word_is_not_found(texts):
    assert WordIndex(texts).best("zebra", 3) == []
    assert WordIndex(texts).best("", 3) == []


@given(st.lists(st.text(max_size=20), max_size=8), st.text(max_size=20), st.integers(1, 9))
def test_any_query_finds_distinct_texts_that_share_a_word(texts, query, k):
    found = positions(WordIndex(texts).best(query, k))
    sharing = {i for i, text in enumerate(texts) if set(words_of(text)) & set(words_of(query))}
    assert len(set(found)) == len(found) == min(k, len(sharing))
    assert set(found) <= sharing


@given(st.text(max_size=60))
def test_words_hold_neither_blanks_nor_upper_case(text):
    assert all(word and word == word.casefold() and not any(c.isspace() for c in word) for word in words_of(text))


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 8))
def test_the_largest_are_found_the_first_of_equals(numbers, k):
    wanted = sorted((i for i, n in enumerate(numbers) if n), key=lambda i: (-numbers[i], i))[:k]
    assert largest(np.array(numbers, np.float32), k) == wanted


def test_the_package_is_imported_by_those_who_retrieve_only():
    code = "import sys, tfgrpo_dspy; tfgrpo_dspy.TrainingFreeGRPO, tfgrpo_dspy.BM25; print('bm25s' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
