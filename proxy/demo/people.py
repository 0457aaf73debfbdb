# SPDX-License-Identifier: Apache-2.0
"""Made-up people: the users, the reported messages and the payments that the sample API serves.

- One seed, one population: the same arguments give the same people, on every machine and in every year.
- An id belongs to one country, and arithmetic alone says which: 42 is JP, 43 KR, 44 TW, 45 TH, 46 ID, 47 US.
- People are drawn in the order of their ids, so a larger population begins with the smaller one.
- Nobody is meant. E-mail addresses end in ``.example`` (RFC 2606). Phone numbers come from blocks without
  subscribers where we know of any: JP ``070-0`` and ``090-0`` (the 11-digit plan gives mobiles no 0 there;
  ``080-0`` begins free-phone numbers), KR ``010-0`` and ``010-1``, US ``555-01``. For TW, TH and ID we know
  of none: do not ring those.

It does not know how people are stored or served, and it reads no clock.
"""

from __future__ import annotations

import random  # noqa: TID251 - a seeded generator of samples
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COUNTRIES = ("JP", "KR", "TW", "TH", "ID", "US")
"""Dealt out to the ids in this order, again and again, so that 42 falls to JP."""

PAYMENTS_EACH = 2


@dataclass(frozen=True, slots=True)
class User:
    """One user, with everything that we hold about them."""

    id: str
    country: str
    name: str
    phone: str
    email: str
    line_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """One message that a user reported to the monitoring platform, for a human to read."""

    id: str
    country: str
    reporter_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment of a user in a shop."""

    id: str
    country: str
    user_id: str
    paid_on: str
    """A date (RFC 3339)."""
    shop: str
    amount: int
    currency: str


def generate_users(seed: int = 2021, per_country: int = 500) -> Iterator[User]:
    """Generate the users of all countries, in the order of their ids, which count from 1."""
    dice = _dice(f"users/{seed}")
    for number in range(1, per_country * len(COUNTRIES) + 1):
        yield _draw_user(number, dice)


def generate_reports(users: Iterable[User], seed: int = 2021) -> Iterator[Report]:
    """Generate as many reports as there are users, each written by a user of the report's country."""
    dice = _dice(f"reports/{seed}")
    reporters = list(users)
    ids_by_country = {country: [user.id for user in reporters if user.country == country] for country in COUNTRIES}
    for number in range(1, len(reporters) + 1):
        country = country_of(number)
        if ids := ids_by_country[country]:
            yield Report(str(number), country, dice.choice(ids), dice.choice(_CUSTOMS[country].reports))


def generate_payments(users: Iterable[User], seed: int = 2021) -> Iterator[Payment]:
    """Generate ``PAYMENTS_EACH`` payments of each user, in the order of their ids, which count from 1."""
    dice = _dice(f"payments/{seed}")
    number = 0
    for user in users:
        customs = _CUSTOMS[user.country]
        for day in sorted(dice.sample(range(30), PAYMENTS_EACH)):
            number += 1
            yield Payment(
                id=str(number),
                country=user.country,
                user_id=user.id,
                paid_on=f"2021-09-{day + 1:02}",
                shop=dice.choice(customs.shops),
                amount=dice.randrange(1, 100) * customs.coin,
                currency=customs.currency,
            )


def country_of(number: int) -> str:
    """Return the country that owns an id, of a user or of a report."""
    return COUNTRIES[number % len(COUNTRIES)]


def _dice(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  what is drawn here must be repeatable, and protects nothing


def _draw_user(number: int, dice: random.Random) -> User:
    country = country_of(number)
    customs = _CUSTOMS[country]
    surname, given = dice.choice(customs.surnames), dice.choice(customs.given_names)
    return User(
        id=str(number),
        country=country,
        name=customs.full_name.format(surname=surname.written, given=given.written),
        phone=_fill(dice.choice(customs.phones), dice),
        email=_fill(f"{given.latin}.{surname.latin}####@{country.lower()}.example", dice),
        line_id=_fill(f"{given.latin}_####", dice),
    )


def _fill(pattern: str, dice: random.Random) -> str:
    """Replace each ``#`` by a digit."""
    return "".join(str(dice.randrange(10)) if mark == "#" else mark for mark in pattern)


@dataclass(frozen=True, slots=True)
class _Name:
    written: str
    latin: str


@dataclass(frozen=True, slots=True)
class _Customs:
    """How the people of one country are called, rung up, what they complain of, and where they pay."""

    full_name: str
    surnames: tuple[_Name, ...]
    given_names: tuple[_Name, ...]
    phones: tuple[str, ...]
    reports: tuple[str, ...]
    currency: str
    coin: int
    """What prices are multiples of."""
    shops: tuple[str, ...]


def _names(words: str) -> tuple[_Name, ...]:
    """Parse ``written:latin`` words; Latin names are their own second half."""
    parts = (word.partition(":") for word in words.split())
    return tuple(_Name(written, latin or written.lower()) for written, _, latin in parts)


_CUSTOMS = {
    "JP": _Customs(
        full_name="{surname} {given}",
        surnames=_names("""
            佐藤:sato 鈴木:suzuki 高橋:takahashi 田中:tanaka 伊藤:ito 渡辺:watanabe 山本:yamamoto
            中村:nakamura 小林:kobayashi 加藤:kato 吉田:yoshida 山田:yamada 佐々木:sasaki 山口:yamaguchi
            松本:matsumoto 井上:inoue 木村:kimura 林:hayashi 斎藤:saito 清水:shimizu 山崎:yamazaki 森:mori
            池田:ikeda 橋本:hashimoto 阿部:abe 石川:ishikawa 前田:maeda 藤田:fujita 小川:ogawa 岡田:okada
            後藤:goto 長谷川:hasegawa
        """),
        given_names=_names("""
            祐介:yusuke 健太:kenta 大輔:daisuke 拓海:takumi 直樹:naoki 和也:kazuya 雄一:yuichi 浩二:koji
            隆之:takayuki 誠一:seiichi 陽斗:haruto 蓮:ren 悠真:yuma 颯太:sota 智也:tomoya 亮平:ryohei
            美咲:misaki 陽子:yoko 恵子:keiko 由美:yumi 文子:fumiko 結衣:yui 葵:aoi 凛:rin 七海:nanami
            真由美:mayumi 裕美:hiromi 千尋:chihiro 彩花:ayaka 明美:akemi 麻衣:mai 香織:kaori
        """),
        phones=("070-0###-####", "090-0###-####"),
        reports=(
            "知らないアカウントから投資の勧誘が何度も届きます。",
            "友だちになりすました人に、コンビニでプリペイドカードを買うように頼まれました。",
            "グループに何度も広告を貼る人がいて困っています。",
            "当選したので口座番号を送ってください、というメッセージが来ました。",
            "断っても毎日しつこくメッセージを送ってきます。",
            "オープンチャットで暴言を吐く参加者がいます。",
            "副業の紹介だと言って、あやしいリンクを送ってきました。",
        ),
        currency="JPY",
        coin=50,
        shops=("コンビニ 駅前店", "書店 本町店", "薬局 中央店", "花屋 さくら通り店"),
    ),
    "KR": _Customs(
        full_name="{surname}{given}",
        surnames=_names("""
            김:kim 이:lee 박:park 최:choi 정:jung 강:kang 조:cho 윤:yoon 장:jang 임:lim 한:han 오:oh 서:seo
            신:shin 권:kwon 황:hwang 안:ahn 송:song 전:jeon 홍:hong 유:yoo 고:ko 문:moon 양:yang 손:son
            배:bae 백:baek 허:heo 남:nam 심:shim 노:noh 하:ha
        """),
        given_names=_names("""
            민준:minjun 서호:seoho 도윤:doyun 예준:yejun 시우:siwoo 하준:hajun 지호:jiho 준서:junseo
            건우:geonwoo 태윤:taeyun 우진:woojin 지환:jihwan 성민:seongmin 영수:youngsoo 정호:jungho
            재민:jaemin 동현:donghyun 서연:seoyeon 서윤:seoyun 지우:jiwoo 하은:haeun 민서:minseo 수아:sua
            지안:jian 은주:eunju 유경:yukyung 미경:mikyung 영희:younghee 은정:eunjung 수진:sujin 혜진:hyejin
            다은:daeun
        """),
        phones=("010-0###-####", "010-1###-####"),
        reports=(
            "모르는 사람이 주식 투자방에 계속 초대합니다.",
            "가족을 사칭해서 상품권을 사 달라고 합니다.",
            "단체방에 광고를 도배하는 사람이 있어요.",
            "택배 배송 문제라며 이상한 링크를 보냈습니다.",
            "싫다고 했는데도 매일 메시지를 보냅니다.",
            "오픈채팅에서 욕설을 하는 참여자를 신고합니다.",
        ),
        currency="KRW",
        coin=500,
        shops=("편의점 역전점", "서점 시청점", "약국 중앙점", "꽃집 공원점"),
    ),
    "TW": _Customs(
        full_name="{surname}{given}",
        surnames=_names("""
            陳:chen 林:lin 黃:huang 張:chang 李:li 王:wang 吳:wu 劉:liu 蔡:tsai 楊:yang 許:hsu 鄭:cheng
            謝:hsieh 洪:hung 郭:kuo 邱:chiu 曾:tseng 廖:liao 賴:lai 徐:hsu 周:chou 葉:yeh 蘇:su 莊:chuang
            呂:lu 江:chiang 何:ho 蕭:hsiao 羅:lo 高:kao 潘:pan 簡:chien
        """),
        given_names=_names("""
            志明:chihming 家豪:chiahao 俊賢:chunhsien 建宏:chienhung 俊宏:chunhung 志豪:chihhao 冠宇:kuanyu
            宗翰:tsunghan 承恩:chengen 柏翰:pohan 彥廷:yenting 宇軒:yuhsuan 品睿:pinjui 文彬:wenpin
            明哲:mingche 信宏:hsinhung 淑芬:shufen 淑惠:shuhui 美玲:meiling 雅婷:yating 怡君:yichun
            佩珊:peishan 欣怡:hsinyi 詩涵:shihhan 家瑜:chiayu 宜蓁:yichen 雅雯:yawen 惠如:huiju 麗華:lihua
            秀英:hsiuying 思妤:szuyu 品妍:pinyen
        """),
        phones=(
            "0910-###-###",
            "0921-###-###",
            "0933-###-###",
            "0952-###-###",
            "0975-###-###",
            "0988-###-###",
        ),
        reports=(
            "陌生帳號一直邀請我加入投資群組。",
            "有人假冒我的朋友要我代買點數卡。",
            "群組裡有人不停張貼廣告。",
            "收到包裹異常的訊息和可疑的連結。",
            "對方被拒絕後還是每天傳訊息騷擾。",
            "社群裡有成員辱罵別人。",
        ),
        currency="TWD",
        coin=5,
        shops=("便利商店 車站店", "書店 中山店", "藥局 和平店", "花店 公園店"),
    ),
    "TH": _Customs(
        full_name="{given} {surname}",
        surnames=_names("""
            ใจดี:jaidee สุขใจ:sukjai แสงทอง:saengthong ทองดี:thongdee ศรีสุข:srisuk บุญมา:boonma มีสุข:meesuk
            จันทร์แก้ว:chankaew พรหมมา:promma แก้วมณี:kaewmanee วงศ์ใหญ่:wongyai สายทอง:saithong อินทร์แก้ว:inkaew
            คำแก้ว:khamkaew บุญเรือง:boonrueang สุวรรณ:suwan ชัยมงคล:chaimongkol รักไทย:rakthai มั่นคง:mankhong
            เจริญสุข:charoensuk ทรัพย์มาก:sapmak พูลสวัสดิ์:poonsawat ศรีทอง:srithong นาคทอง:nakthong ยิ้มแย้ม:yimyaem
            งามดี:ngamdee ดวงแก้ว:duangkaew ปานทอง:panthong ขันทอง:khanthong โพธิ์ทอง:phothong เพชรดี:petchdee
            สมบูรณ์:somboon
        """),
        given_names=_names("""
            สมชาย:somchai สมศักดิ์:somsak ประเสริฐ:prasert วิชัย:wichai สุรชัย:surachai อนันต์:anan ธนพล:thanapon
            กิตติ:kitti ณัฐพล:nattapon ภูมิ:phum พีรพล:peerapon ชัยวัฒน์:chaiwat ประเวศ:prawet วีระ:weera อาทิตย์:athit
            ธีรเดช:theeradet สมหญิง:somying มาลี:malee สุดา:suda วันเพ็ญ:wanpen พรทิพย์:pornthip นภา:napa กัญญา:kanya
            ศิริพร:siriporn อรทัย:orathai ปราณี:pranee ณัฐธิดา:nattida พิมพ์ใจ:pimjai ชลธิชา:chonticha รัตนา:rattana
            จินตนา:jintana ดวงใจ:duangjai
        """),
        phones=("06-####-####", "08-####-####", "09-####-####"),
        reports=(
            "มีบัญชีที่ไม่รู้จักชวนลงทุนซ้ำ ๆ",
            "มีคนปลอมเป็นเพื่อนแล้วขอยืมเงิน",
            "มีคนโพสต์โฆษณาในกลุ่มไม่หยุด",
            "ได้รับข้อความว่าพัสดุมีปัญหา พร้อมลิงก์น่าสงสัย",
            "ปฏิเสธแล้วแต่ยังส่งข้อความมารบกวนทุกวัน",
            "มีสมาชิกใช้คำหยาบคายในโอเพนแชท",
        ),
        currency="THB",
        coin=5,
        shops=("ร้านสะดวกซื้อ สถานี", "ร้านหนังสือ กลางเมือง", "ร้านขายยา ตลาด", "ร้านดอกไม้ สวน"),
    ),
    "ID": _Customs(
        full_name="{given} {surname}",
        surnames=_names("""
            Santoso Wijaya Saputra Hidayat Setiawan Nugroho Kurniawan Pratama Susanto Wibowo Laksono Permana
            Halim Siregar Nasution Harahap Simanjuntak Sitompul Lubis Ginting Tarigan Sihombing Hutapea
            Manurung Suryadi Firmansyah Ramadhan Maulana Hakim Purnomo Handoko Utomo
        """),
        given_names=_names("""
            Budi Agus Andi Dewi Siti Sri Eko Rina Rudi Hari Yanti Wati Bambang Dian Fitri Ayu Putri Rizky
            Dimas Arif Fajar Indah Ratna Lina Maya Nur Yusuf Bayu Galih Wahyu Citra Intan
        """),
        phones=("0812-####-####", "0813-####-####", "0821-####-####", "0857-####-####", "0878-####-####"),
        reports=(
            "Akun tidak dikenal terus mengajak saya ikut investasi.",
            "Ada yang menyamar sebagai teman saya dan meminta pulsa.",
            "Anggota ini terus mengirim iklan di grup.",
            "Saya menerima pesan undian berhadiah dengan tautan mencurigakan.",
            "Sudah saya tolak, tetapi masih mengirim pesan setiap hari.",
            "Ada peserta yang berkata kasar di obrolan terbuka.",
        ),
        currency="IDR",
        coin=1000,
        shops=("Minimarket Stasiun", "Toko Buku Kota", "Apotek Pasar", "Toko Bunga Taman"),
    ),
    "US": _Customs(
        full_name="{given} {surname}",
        surnames=_names("""
            Miller Davis Garcia Rodriguez Martinez Hernandez Gonzalez Anderson Tanner Moreno Martin Thompson
            White Harris Clayton Lindgren Robinson Walker Young Alvarado Kovacs Wright Hill Flores Green
            Nelson Baker Rivera Mitchell Carter Nguyen Kowalski
        """),
        given_names=_names("""
            Linda Patricia Barbara Susan Jessica Karen Nancy Lisa Sandra Ashley Emily Donna Carol Amanda
            Melissa Deborah Laura Rebecca Gary Eric Warren Larry Justin Brandon Gregory Felix Raymond
            Patrick Dennis Jerry Tyler Nathan
        """),
        phones=("(206) 555-01##", "(212) 555-01##", "(312) 555-01##", "(415) 555-01##", "(617) 555-01##"),
        reports=(
            "A stranger keeps inviting me to an investment group.",
            "Someone is pretending to be my cousin and asks for gift cards.",
            "This member keeps posting ads in our group.",
            "I got a message about a parcel with a suspicious link.",
            "I said no, and they still message me every day.",
            "A participant in the open chat is insulting people.",
        ),
        currency="USD",
        coin=1,
        shops=("Corner store, Station", "Bookshop, Main Street", "Pharmacy, Market", "Florist, Park"),
    ),
}
