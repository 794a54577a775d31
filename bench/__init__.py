"""How fast Portal is, next to a bare Flask response: `python -m bench` (or `make bench`).

`workloads.py` says what is asked, `seed.py` makes the data, `servers.py` starts who answers,
`load.py` asks, `measure.py` reads the kernel's books, `goals.py` judges and `report.py` prints.
`scale.py` (`make bench-scale`) compares a million applications with a hundred.
"""
