"""python -m heliograph.app.demo: the shop as a process."""

from heliograph.app.demo.shop import main

if __name__ == "__main__":
    main()
