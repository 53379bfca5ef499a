"""``python3 -m fastroute.ctl``: the same as ``fastroute-ctl``, for an image that has only the package."""

from fastroute.ctl.entry import main

if __name__ == "__main__":
    main()
